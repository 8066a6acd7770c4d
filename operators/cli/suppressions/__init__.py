"""`vedette suppressions`: what suppressions would do, and drafts of them."""
