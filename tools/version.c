/* What this binary is. The one file that is compiled anew for each commit. */
#include "tools/command.h"

#ifndef SEDGE_COMMIT
#define SEDGE_COMMIT ""
#endif

const char sedge_version[] = "0.1.0";
const char sedge_commit[] = SEDGE_COMMIT;
