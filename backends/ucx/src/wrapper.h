/* What sys.rs speaks to. */
#include <ucp/api/ucp.h>
