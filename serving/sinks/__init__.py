"""Where alerts go: the forms that SIEMs read, the transports to them, and the spool that keeps alerts while a SIEM is away."""
