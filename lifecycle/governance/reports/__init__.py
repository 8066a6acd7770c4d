"""Model cards and compliance reports: what is recorded, as a document for people."""
