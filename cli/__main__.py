"""Entry point of `relay`."""

import sys

from cli.main import main

sys.exit(main())
