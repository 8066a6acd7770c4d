"""Model cards and compliance reports: recorded facts as documents for people."""
