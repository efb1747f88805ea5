"""Does one setting with goals end where it is asked, at every rate, and what does it cost?"""
