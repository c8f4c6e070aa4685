/* What sys.rs speaks to. */
#include <ucp/api/ucp.h>
#include <ucs/config/global_opts.h>
