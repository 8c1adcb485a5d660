"""What the process that workers are forked from imports first, and nobody else: there, the garbage collector rests.

All that it imports stays. Each worker lets the collector begin again.
"""

import gc

gc.disable()
