"""How far does unlearning come on forward passes alone, at what cost, and does its forgetting last?"""
