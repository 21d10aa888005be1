"""`relay`: the operator's command-line tool."""
