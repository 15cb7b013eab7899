/* What bindings are generated from. */
#include "types.h"
#include "functions.h"
