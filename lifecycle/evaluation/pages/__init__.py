"""What evaluation found, for people (documents) and for programs (records)."""
