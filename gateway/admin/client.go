package admin

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// Client speaks to a running hub. It has the methods of [Operations]; the
// Actor handed to them is not sent, since the hub sees who connects. Errors
// are of type [*Error] where the hub, or the way to it, has something to say.
// Safe for concurrent use.
type Client struct {
	http *http.Client
	base string
	at   string // the socket, for people
}

// NewClient returns a client of the hub on the Unix socket at path. It
// connects at the first call.
func NewClient(path string) *Client {
	return &Client{
		base: "http://hub",
		at:   path,
		http: &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", path)
			},
			MaxIdleConns:       4,
			IdleConnTimeout:    time.Minute,
			DisableCompression: true,
		}},
	}
}

// Remote is a hub reached over mutual TLS.
type Remote struct {
	URL       string // https://host:port
	Cert, Key string // PEM files
	Authority string // PEM bundle the hub's certificate must chain to; empty: the system's
}

// NewRemoteClient returns a client of a hub elsewhere.
func NewRemoteClient(r Remote) (*Client, error) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return nil, problem(0, "bad-url", map[string]any{"url": r.URL})
	}
	for _, name := range []string{r.Cert, r.Key} { // the error of the pair may quote it
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		f.Close()
	}
	pair, err := tls.LoadX509KeyPair(r.Cert, r.Key)
	if err != nil {
		return nil, problem(0, "bad-certificate", map[string]any{"file": r.Cert})
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if r.Authority != "" {
		text, err := os.ReadFile(r.Authority)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, problem(0, "bad-certificate", map[string]any{"file": r.Authority})
		}
	}
	return &Client{
		base: "https://" + u.Host,
		at:   u.Host,
		http: &http.Client{
			Transport: &http.Transport{
				DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
				TLSClientConfig:     config,
				TLSHandshakeTimeout: 10 * time.Second,
				MaxIdleConns:        4,
				IdleConnTimeout:     time.Minute,
				DisableCompression:  true,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close drops connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status asks how the hub is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return ask[Status](ctx, c, "hub/status", none{})
}

// ask does a verb whose request and answer are JSON.
func ask[A, Q any](ctx context.Context, c *Client, verb string, q Q) (a A, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime+chunkTime)
	defer cancel()
	body, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	res, err := c.post(ctx, verb, nil, "application/json", bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	return a, c.decode(res.Body, &a)
}

// send does a verb that takes a body.
func send[A, Q any](ctx context.Context, c *Client, verb string, q Q, kind string, r io.Reader) (a A, err error) {
	ctx, cancel := context.WithTimeout(ctx, streamTime+chunkTime)
	defer cancel()
	params, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	// io.NopCloser: the transport must not close what is the caller's.
	res, err := c.post(ctx, verb, url.Values{"q": {string(params)}}, kind, io.NopCloser(r))
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	return a, c.decode(res.Body, &a)
}

// fetch does a verb that answers with bytes. The reader fails if the hub
// broke off: then what was read is not the whole.
func fetch[Q any](ctx context.Context, c *Client, verb string, q Q) (io.ReadCloser, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	res, err := c.post(ctx, verb, nil, "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return &incoming{c, res.Body}, nil
}

type incoming struct {
	c *Client
	io.ReadCloser
}

func (d *incoming) Read(b []byte) (int, error) {
	n, err := d.ReadCloser.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = d.c.explain(err)
	}
	return n, err
}

// post sends a request and gives the answer if the verb was done.
func (c *Client) post(ctx context.Context, verb string, query url.Values, kind string, body io.Reader) (*http.Response, error) {
	to := c.base + "/v1/" + verb
	if query != nil {
		to += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set(headerVersion, version)
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if res.Header.Get(headerVersion) != version {
		res.Body.Close()
		return nil, problem(0, "other-version", map[string]any{"version": res.Header.Get(headerProgram)})
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	e := &Error{}
	if err := c.decode(io.LimitReader(res.Body, maxRequest), e); err != nil {
		return nil, err
	}
	if e.Exit == 0 {
		e.Exit = 1
	}
	return nil, e
}

// decode reads an answer. Fields that are not known are left aside: a newer
// hub may say more.
func (c *Client) decode(r io.Reader, v any) error {
	if err := json.NewDecoder(io.LimitReader(r, maxAnswer)).Decode(v); err != nil {
		return c.explain(err)
	}
	return nil
}

// explain says what a failure on the way to the hub means.
func (c *Client) explain(err error) error {
	at := map[string]any{"socket": c.at}
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return problem(0, "no-hub", at)
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return problem(0, "hub-not-trusted", at)
	case errors.Is(err, fs.ErrPermission):
		return problem(0, "no-right", at)
	case errors.Is(err, context.DeadlineExceeded):
		return problem(0, "too-slow", nil)
	}
	return fmt.Errorf("%w: %w", problem(0, "broken-off", at), err)
}
