"""The console: pages for people, served by `vedette up` and by a Deployment of its own."""
