"""Vidu Relay: paid video generation as a dependable, event-driven AWS service."""

import gc
import os

# In Lambda, and nowhere else. A start makes hundreds of thousands of objects that stay, and the collector would search
# them again and again to find nothing. Python runs this before any other module of the package; `observed`, which
# every handler ends its start with, sets what there is aside for good and lets the collector work.
if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    gc.disable()
