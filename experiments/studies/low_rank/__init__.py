"""Does unlearning on adapters survive rounding to 4 bits?"""
