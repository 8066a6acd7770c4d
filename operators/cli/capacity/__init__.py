"""`vedette capacity`: the resources that a number of events a day needs."""
