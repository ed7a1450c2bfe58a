"""`python -m bench consistency`: do repeats and rephrasings get the same facts, directly and through Ocho?"""
