// Command librclone is rclone as a C archive. It has rclone's own four exports, and
// a few for content, because RcloneRPC supports only JSON.
//
// A handle is a number that package remote has assigned. Exports that run methods
// or backends recover from a panic and return it as a failure.
package main

/*
#include "exports.h"
*/
import "C"

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"runtime/debug"
	"unsafe"

	_ "plakar-icloud/librclone/account"  // sign-ins
	_ "plakar-icloud/librclone/backends" // the other backends of this build
	_ "plakar-icloud/librclone/notify"   // pings to monitors
	"plakar-icloud/librclone/redact"
	"plakar-icloud/librclone/remote"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/log"
	"github.com/rclone/rclone/lib/atexit"
	"github.com/rclone/rclone/librclone/librclone"
	_ "golang.org/x/crypto/x509roots/fallback" // CA certificates for systems without any, such as a bare container
)

// noDirectory is a path at which nothing can be created. It is the folder of
// rclone's caches, which would otherwise be written below the user's home.
const noDirectory = "/dev/null/rclone"

// gcPercent is the percentage by which the heap may grow between two
// collections.
const gcPercent = 50

func init() {
	// The caller handles signals. rclone would exit on SIGINT and SIGTERM.
	atexit.IgnoreSignals()
}

// RcloneInitialize starts rclone with a configuration that exists only in memory.
//
//export RcloneInitialize
func RcloneInitialize() {
	// Content becomes garbage as soon as it has been passed on. With the default
	// of 100, there would be as much garbage as content in use.
	debug.SetGCPercent(gcPercent)
	_ = config.SetConfigPath("") // fails only for reserved file names
	_ = config.SetCacheDir(noDirectory)
	librclone.Initialize()
}

// RcloneFinalize frees the resources that rclone can free.
//
//export RcloneFinalize
func RcloneFinalize() {
	librclone.Finalize()
}

// RcloneRPC calls one of rclone's own rc methods with JSON. The caller frees
// Output.
//
//export RcloneRPC
func RcloneRPC(method, input *C.char) (result C.RcloneRPCResult) {
	output, status := librclone.RPC(C.GoString(method), C.GoString(input))
	result.Output = C.CString(output)
	result.Status = C.int(status)
	return result
}

// RcloneCall calls a method of package remote with JSON. The caller frees the
// result.
//
//export RcloneCall
func RcloneCall(method, input *C.char) (answer *C.char) {
	defer func() {
		if r := recover(); r != nil {
			encoded, _ := json.Marshal(map[string]any{"failure": panicked(r)}) // never fails for strings
			answer = C.CString(string(encoded))
		}
	}()
	output := remote.Call(C.GoString(method), []byte(C.GoString(input)))
	return (*C.char)(C.CBytes(append(output, 0)))
}

// RcloneFreeString frees a string that an export returned.
//
//export RcloneFreeString
func RcloneFreeString(str *C.char) {
	C.free(unsafe.Pointer(str))
}

// traceOfCalls matches rclone's log lines about rc calls. They contain inputs and
// results, and therefore passwords and sessions.
var traceOfCalls = regexp.MustCompile(`(?s)(rc: "[^"]*": (?:with parameters|reply)) .*`)

// RcloneSetLog sends rclone's log to sink instead of stderr: all of it if debug is
// set, or else warnings and errors. sink is called from any thread.
//
//export RcloneSetLog
func RcloneSetLog(debug C.bool, sink C.RcloneLogSink) {
	level := fs.LogLevelWarning
	if debug {
		level = fs.LogLevelDebug
	}
	fs.GetConfig(context.Background()).LogLevel = level
	log.Handler.SetLevel(fs.LogLevelToSlog(level))
	log.Handler.SetOutput(func(level slog.Level, text string) {
		line := C.CString(redact.Text(traceOfCalls.ReplaceAllString(text, "$1 …")))
		defer C.free(unsafe.Pointer(line))
		C.RcloneCallLogSink(sink, C.int(level), line)
	})
}

// RcloneScopeBegin creates a scope for calls.
//
//export RcloneScopeBegin
func RcloneScopeBegin() C.uint64_t {
	return C.uint64_t(remote.BeginScope())
}

// RcloneScopeEnd cancels the calls that run under a scope and removes it.
//
//export RcloneScopeEnd
func RcloneScopeEnd(scope C.uint64_t) {
	remote.EndScope(uint64(scope))
}

// RcloneObjectRelease releases an object that a listing or an upload has returned.
//
//export RcloneObjectRelease
func RcloneObjectRelease(object C.uint64_t) {
	remote.ReleaseObject(uint64(object))
}

// RcloneRead fills the buffer with the next bytes of a content. Count is less than
// size only at the end. Failure is null, or JSON that the caller frees.
//
//export RcloneRead
func RcloneRead(reader C.uint64_t, buffer *C.uint8_t, size C.size_t) (result C.RcloneReadResult) {
	defer func() {
		if r := recover(); r != nil {
			result.Failure = failureString(panicked(r))
		}
	}()
	n, failure := remote.Read(uint64(reader), unsafe.Slice((*byte)(buffer), int(size)))
	result.Count = C.size_t(n)
	if failure != nil {
		result.Failure = failureString(failure)
	}
	return result
}

// RcloneReaderClose closes a reader.
//
//export RcloneReaderClose
func RcloneReaderClose(reader C.uint64_t) {
	defer func() { _ = recover() }() // of a backend's Close, whose failure is ignored, too
	remote.CloseReader(uint64(reader))
}

// RcloneUpload stores the content at the path in the JSON input. The content is not
// read after RcloneUpload has returned. The caller frees the result.
//
//export RcloneUpload
func RcloneUpload(input *C.char, content *C.uint8_t, size C.size_t) (answer *C.char) {
	defer func() {
		if r := recover(); r != nil {
			encoded, _ := json.Marshal(map[string]any{"failure": panicked(r)}) // never fails for strings
			answer = C.CString(string(encoded))
		}
	}()
	return C.CString(remote.Upload(C.GoString(input), unsafe.Slice((*byte)(content), int(size))))
}

// panicked returns the failure for a recovered panic.
func panicked(value any) *remote.Failure {
	return &remote.Failure{Kind: "other", Text: redact.Text(fmt.Sprintf("rclone panicked: %v", value))}
}

func failureString(failure *remote.Failure) *C.char {
	encoded, _ := json.Marshal(failure) // never fails for strings and numbers
	return C.CString(string(encoded))
}

func main() {}
