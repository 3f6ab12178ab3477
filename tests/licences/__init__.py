"""Licence check of everything that an installation of the service contains, for distribution under Apache-2.0.

python -m tests.licences          lists licences; fails if one does not allow it, or is missing in THIRD_PARTY.md
python -m tests.licences --write  writes THIRD_PARTY.md
"""
