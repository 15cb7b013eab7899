/* What bindings are generated from. */
#include "types.h"
#include "custom_op.h"
#include "functions.h"
