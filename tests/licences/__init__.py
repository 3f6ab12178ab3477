"""The licences of everything that an installation of the service contains, and whether Apache-2.0 can ship it.

python -m tests.licences          lists them, and fails on what cannot be shipped or is not in THIRD_PARTY.md
python -m tests.licences --write  writes THIRD_PARTY.md
"""
