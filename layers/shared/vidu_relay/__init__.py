"""Vidu Relay: paid video generation as a dependable, event-driven AWS service."""

import gc
import os

# Only in Lambda: without the garbage collector a start takes a tenth less CPU, since nothing that it makes is garbage.
# It must be off before boto3 is imported, so this cannot stand in a handler. `observability.observed`, the last step of
# each start, turns it on again.
if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    gc.disable()
