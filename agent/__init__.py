"""tutelage: label a pool with a student, an LLM and people, and certify the result against people.

Importing this package loads nothing heavy; the rooms are imported by the verb that needs them.
"""

__version__ = "0.1.0"
