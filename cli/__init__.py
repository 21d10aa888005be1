"""`relay`: the operator's and consumer's command-line tool."""
