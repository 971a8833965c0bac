"""What `teardown` calls: deletion by record, and the inventory that proves nothing is left."""
