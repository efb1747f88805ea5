"""Does what a code model has forgotten come back in another spelling, and does training on views prevent it?"""
