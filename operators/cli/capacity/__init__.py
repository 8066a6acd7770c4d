"""`vedette capacity`: what a number of events a day takes."""
