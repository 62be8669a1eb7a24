/* What the exports of main.go speak of. Rust's declarations are made from this
 * file and from the header that cgo derives from main.go. */
#ifndef PLAKAR_ICLOUD_EXPORTS_H
#define PLAKAR_ICLOUD_EXPORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct {
	char *Output; /* JSON; free with RcloneFreeString */
	int Status;   /* 200, or an HTTP status that says what failed */
} RcloneRPCResult;

typedef struct {
	size_t Count;  /* bytes read */
	char *Failure; /* NULL, or JSON; free with RcloneFreeString */
} RcloneReadResult;

/* level is that of Go's slog: -4 debug, 0 info, 4 warning, 8 error. The text is
 * valid during the call only. */
typedef void (*RcloneLogSink)(int level, const char *text);

static inline void RcloneCallLogSink(RcloneLogSink sink, int level, const char *text) {
	sink(level, text);
}

#endif
