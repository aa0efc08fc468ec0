package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox"
)

// verb hands over a JSON request and answers with JSON.
func verb[Q, A any](do func(Operations, context.Context, mailbox.Actor, Q) (A, error)) handler {
	return func(c *call) error {
		var q Q
		if err := c.decode(&q); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(c.r.Context(), requestTime)
		defer cancel()
		a, err := do(c.o.Hub, ctx, c.actor, q)
		if err != nil {
			return err
		}
		return c.json(http.StatusOK, a)
	}
}

// content is what an upload carries.
type content int

const (
	ofFile content = iota
	ofMail
	ofExtract // of the national directory
)

// upload hands over the body as it arrives; the request proper is in the
// query.
func upload[Q, A any](of content, do func(Operations, context.Context, mailbox.Actor, Q, io.Reader) (A, error)) handler {
	return func(c *call) error {
		var q Q
		if err := strict(strings.NewReader(c.r.URL.Query().Get("q")), &q); err != nil {
			return err
		}
		limit := int64(maxUpload)
		switch of {
		case ofMail:
			limit = c.o.MaxMessage
		case ofExtract:
			limit = maxExtract
		}
		ctx, cancel := context.WithTimeout(c.r.Context(), streamTime)
		defer cancel()
		body := http.MaxBytesReader(c.w, c.r.Body, limit)
		a, err := do(c.o.Hub, ctx, c.actor, q, &pacedReader{c, body})
		// What is left must be read, or the client would find the connection
		// closed while it still sends, and miss the answer.
		_, _ = io.Copy(io.Discard, io.LimitReader(&pacedReader{c, c.r.Body}, limit))
		c.unhurried()
		if err != nil {
			return err
		}
		return c.json(http.StatusOK, a)
	}
}

// Media types of what is downloaded.
const (
	aMail     = "message/rfc822"
	anArchive = "application/zip"
	jsonLines = "application/x-ndjson"
)

// download answers with the bytes of a file.
func download[Q any](media string, do func(Operations, context.Context, mailbox.Actor, Q) (io.ReadCloser, error)) handler {
	return func(c *call) error {
		var q Q
		if err := c.decode(&q); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(c.r.Context(), streamTime)
		defer cancel()
		file, err := do(c.o.Hub, ctx, c.actor, q)
		if err != nil {
			return err
		}
		defer file.Close()
		in := bufio.NewReaderSize(file, 64<<10)
		if _, err := in.Peek(1); err != nil && !errors.Is(err, io.EOF) {
			return err // nothing was said yet: it can be told properly
		}
		c.w.Header().Set("Content-Type", media)
		if _, err := io.Copy(pacedWriter{c}, in); err != nil {
			panic(http.ErrAbortHandler)
		}
		return nil
	}
}

// decode reads a JSON request.
func (c *call) decode(q any) error {
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return badRequest(http.StatusUnsupportedMediaType, "Content-Type: application/json")
	}
	_ = c.paced.SetReadDeadline(time.Now().Add(chunkTime))
	defer c.unhurried()
	return strict(http.MaxBytesReader(c.w, c.r.Body, maxRequest), q)
}

// unhurried lifts the deadline for reading: the connection is now only
// watched for the client's going away, which ends the request's context.
func (c *call) unhurried() { _ = c.paced.SetReadDeadline(time.Time{}) }

// strict decodes one JSON value with no unknown field and nothing behind it.
func strict(r io.Reader, q any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	err := d.Decode(q)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			return badRequest(http.StatusBadRequest, "data after the request")
		}
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return err
	}
	return badRequest(http.StatusBadRequest, err.Error())
}

func badRequest(status int, what string) *Error {
	return problem(status, "bad-request", map[string]any{"problem": what})
}

// json answers with v. It is made before the first byte is sent, so that an
// answer is whole or an error.
func (c *call) json(status int, v any) error {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	_, _ = b.WriteTo(pacedWriter{c}) // who went away needs no answer
	return nil
}

// pacedReader gives each part of the body a deadline of its own.
type pacedReader struct {
	c *call
	r io.Reader
}

func (p *pacedReader) Read(b []byte) (int, error) {
	_ = p.c.paced.SetReadDeadline(time.Now().Add(chunkTime))
	return p.r.Read(b)
}

// pacedWriter gives each part of the answer a deadline of its own.
type pacedWriter struct{ c *call }

func (p pacedWriter) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		part := b[:min(len(b), 64<<10)]
		_ = p.c.paced.SetWriteDeadline(time.Now().Add(chunkTime))
		var m int
		m, err = p.c.w.Write(part)
		n, b = n+m, b[m:]
	}
	return n, err
}
