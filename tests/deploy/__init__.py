"""What lies in deploy/, tried with the programs it is made for; `make deploy-test` runs it."""
