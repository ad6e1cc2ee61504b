"""The version of photofinish. CHANGELOG.md says what each version has brought.

Not here: who shows it.
"""

VERSION = "0.9.0"
