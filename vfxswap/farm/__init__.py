"""Whole shots on many machines: chunks of a job, and the schedulers that run them."""
