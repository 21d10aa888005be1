"""What the service does, one verb a module. The promises are kept here."""
