// SPDX-License-Identifier: Apache-2.0

// flood MODE TARGET [flags]: calls package echo at host:port, and prints what it saw as one line of JSON.
//
//	many      channels x streams, all open at once unless -apart; each echoes two numbers, then half-closes
//	cancel    leaves streams in the middle and asks the server when it saw that
//	deadline  calls that outlive their deadline; how long they took and what the server was told
//	hold      one stream, a number a second each way for so many seconds
//	fail      one call that ends with a status
//	meta      one stream with metadata of all kinds
//	health    the health service
//
// Exit 0 only when all was as it should be; errors are in the JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"trammel.dev/peers/echo"
)

type report map[string]any

var (
	channels = flag.Int("channels", 1, "many, cancel: connections")
	streams  = flag.Int("streams", 1, "many, cancel, deadline: streams on each connection")
	seconds  = flag.Int("seconds", 10, "hold: how long")
	afterMs  = flag.Int("deadline-ms", 500, "deadline: how long a call may take")
	code     = flag.Int("code", 5, "fail: which status")
	message  = flag.String("message", "so be it", "fail: which words")
	apart    = flag.Bool("apart", false, "many: no stream waits for the others")
	id       = flag.String("id", "", "x-request-id of all calls")
	withinS  = flag.Int("within", 120, "the whole of it, in seconds: a bound for what hangs")
)

var modes = map[string]func(context.Context, string) (report, error){
	"many": many, "cancel": cancelled, "deadline": deadline, "hold": hold, "fail": fail, "meta": meta, "health": health,
}

func main() {
	if len(os.Args) < 3 || modes[os.Args[1]] == nil {
		fmt.Fprintf(os.Stderr, "flood MODE TARGET [flags]; MODE is one of %v\n", slices.Sorted(maps.Keys(modes)))
		os.Exit(2)
	}
	flag.CommandLine.Parse(os.Args[3:])
	ctx, stop := context.WithTimeout(context.Background(), time.Duration(*withinS)*time.Second)
	defer stop()
	if *id != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-request-id", *id)
	}
	r, err := modes[os.Args[1]](ctx, os.Args[2])
	if r == nil {
		r = report{}
	}
	if err != nil {
		r["error"], r["code"] = err.Error(), int(status.Code(err))
	}
	line, _ := json.Marshal(r)
	fmt.Println(string(line))
	if err != nil {
		os.Exit(1)
	}
}

func dial(target string) (*grpc.ClientConn, error) {
	return grpc.NewClient("dns:///"+target, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig(), grpc.WithNoProxy())
}

var bidi = &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}

func chat(ctx context.Context, c *grpc.ClientConn) (grpc.ClientStream, error) {
	return c.NewStream(ctx, bidi, "/"+echo.Service+"/Chat")
}

// trade sends a number and expects it back.
func trade(s grpc.ClientStream, number uint64) error {
	if err := s.SendMsg(wrapperspb.UInt64(number)); err != nil && err != io.EOF { // at io.EOF the status is in RecvMsg
		return err
	}
	return expect(s, number)
}

func expect(s grpc.ClientStream, number uint64) error {
	got := new(wrapperspb.UInt64Value)
	if err := s.RecvMsg(got); err != nil {
		return err
	}
	if got.Value != number {
		return fmt.Errorf("%d came back for %d", got.Value, number)
	}
	return nil
}

// finish half-closes and expects the end.
func finish(s grpc.ClientStream) error {
	if err := s.CloseSend(); err != nil {
		return err
	}
	if err := s.RecvMsg(new(wrapperspb.UInt64Value)); err == nil {
		return fmt.Errorf("a message after the last")
	} else if err != io.EOF {
		return err
	}
	return nil
}

// tally counts how streams ended, by status and words.
type tally struct {
	mutex sync.Mutex
	ok    int
	bad   map[string]int
	first error
}

func (t *tally) add(err error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if err == nil {
		t.ok++
		return
	}
	if t.first == nil {
		t.first, t.bad = err, map[string]int{}
	}
	if len(t.bad) < 20 {
		t.bad[err.Error()]++
	}
}

func many(ctx context.Context, target string) (report, error) {
	start := time.Now()
	total := *channels * *streams
	var done, open sync.WaitGroup
	var t tally
	var peak int
	all := make(chan struct{}) // closed when every stream has had its first echo: then all are open at once
	open.Add(total)
	for i := range *channels {
		c, err := dial(target)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		for j := range *streams {
			done.Go(func() {
				number := uint64(i*(*streams)+j) << 1
				s, err := chat(ctx, c)
				if err == nil {
					err = trade(s, number)
				}
				if err == nil {
					t.mutex.Lock()
					peak++
					t.mutex.Unlock()
				}
				open.Done()
				if !*apart {
					<-all
				}
				if err == nil {
					err = trade(s, number+1)
				}
				if err == nil {
					err = finish(s)
				}
				t.add(err)
			})
		}
	}
	open.Wait()
	opened := time.Since(start)
	close(all)
	done.Wait()
	return report{"streams": total, "peak": peak, "ok": t.ok, "bad": t.bad, "opened_s": opened.Seconds(), "took_s": time.Since(start).Seconds()}, t.first
}

// fate asks until the server has seen the end of the call with this id.
func fate(ctx context.Context, c *grpc.ClientConn, id string) (f echo.Fate, err error) {
	for {
		out := new(wrapperspb.StringValue)
		if err = c.Invoke(ctx, "/"+echo.Service+"/Seen", wrapperspb.String(id), out); err != nil {
			return f, err
		}
		if err = json.Unmarshal([]byte(out.Value), &f); err != nil || f.End != "" {
			return f, err
		}
		select {
		case <-ctx.Done():
			return f, fmt.Errorf("the server never saw the end of %s", id)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func named(ctx context.Context, id string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "x-call-id", id)
}

func cancelled(ctx context.Context, target string) (report, error) {
	var done sync.WaitGroup
	var t tally
	var worst time.Duration
	ends := map[string]int{}
	for i := range *channels {
		c, err := dial(target)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		for j := range *streams {
			done.Go(func() {
				id := fmt.Sprintf("cancel-%d-%d-%d", os.Getpid(), i, j)
				mine, leave := context.WithCancel(named(ctx, id))
				s, err := chat(mine, c)
				if err == nil {
					err = trade(s, uint64(j))
				}
				at := time.Now()
				leave()
				var f echo.Fate
				if err == nil {
					f, err = fate(ctx, c, id)
				}
				if err == nil && status.Code(s.RecvMsg(new(wrapperspb.UInt64Value))) != codes.Canceled {
					err = fmt.Errorf("a cancelled stream did not end so")
				}
				t.add(err)
				if err == nil {
					t.mutex.Lock()
					worst = max(worst, time.Duration(f.EndedNs-at.UnixNano()))
					ends[f.End]++
					t.mutex.Unlock()
				}
			})
		}
	}
	done.Wait()
	return report{"ok": t.ok, "bad": t.bad, "ends": ends, "worst_ms": worst.Milliseconds()}, t.first
}

func deadline(ctx context.Context, target string) (report, error) {
	c, err := dial(target)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var done sync.WaitGroup
	var t tally
	shortest, longest, told := time.Hour, time.Duration(0), []int64{}
	ends := map[string]int{}
	for j := range *streams {
		done.Go(func() {
			id := fmt.Sprintf("deadline-%d-%d", os.Getpid(), j)
			start := time.Now()
			mine, stop := context.WithTimeout(named(ctx, id), time.Duration(*afterMs)*time.Millisecond)
			defer stop()
			s, err := c.NewStream(mine, &grpc.StreamDesc{ServerStreams: true}, "/"+echo.Service+"/Wait")
			if err == nil {
				err = s.SendMsg(wrapperspb.String(id))
			}
			if err == nil {
				err = s.CloseSend()
			}
			if err == nil {
				err = s.RecvMsg(new(wrapperspb.StringValue))
			}
			took := time.Since(start)
			var f echo.Fate
			if status.Code(err) == codes.DeadlineExceeded {
				f, err = fate(ctx, c, id)
			}
			t.add(err)
			if err == nil {
				t.mutex.Lock()
				shortest, longest = min(shortest, took), max(longest, took)
				told, ends[f.End] = append(told, f.Deadline), ends[f.End]+1
				t.mutex.Unlock()
			}
		})
	}
	done.Wait()
	return report{"ok": t.ok, "bad": t.bad, "ends": ends, "told_ms": told, "shortest_ms": shortest.Milliseconds(), "longest_ms": longest.Milliseconds()}, t.first
}

func hold(ctx context.Context, target string) (report, error) {
	c, err := dial(target)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	s, err := chat(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := trade(s, 0); err != nil {
		return nil, err
	}
	fmt.Println(`{"held": true}`)
	var longest time.Duration
	number, start := uint64(1), time.Now()
	for ; number <= uint64(*seconds); number++ {
		time.Sleep(time.Until(start.Add(time.Duration(number) * time.Second)))
		sent := time.Now()
		if err := trade(s, number); err != nil {
			return report{"numbers": number, "held_s": time.Since(start).Seconds(), "longest_ms": longest.Milliseconds()}, err
		}
		longest = max(longest, time.Since(sent))
	}
	return report{"numbers": number, "held_s": time.Since(start).Seconds(), "longest_ms": longest.Milliseconds()}, finish(s)
}

func fail(ctx context.Context, target string) (report, error) {
	c, err := dial(target)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var head, trail metadata.MD
	out := new(wrapperspb.StringValue)
	err = c.Invoke(ctx, "/"+echo.Service+"/Fail", wrapperspb.String(fmt.Sprintf("%d %s", *code, *message)), out, grpc.Header(&head), grpc.Trailer(&trail))
	return report{"code": int(status.Code(err)), "message": status.Convert(err).Message(), "head": head, "trail": trail}, nil
}

func meta(ctx context.Context, target string) (report, error) {
	c, err := dial(target)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	sent := metadata.MD{
		"x-echo-twice": {"one", "two"}, "x-echo-raw-bin": {"\x00\xff\x80 raw\n"}, "x-echo-empty": {""}, "x-echo-long": {string(slices.Repeat([]byte("long "), 800)[:3999])},
	}
	s, err := chat(with(ctx, sent), c)
	if err != nil {
		return nil, err
	}
	head, err := s.Header()
	if err == nil {
		err = trade(s, 7)
	}
	if err == nil {
		err = finish(s)
	}
	trail := s.Trailer()
	for key, values := range sent {
		if err == nil && !slices.Equal(head[key], values) {
			err = fmt.Errorf("%s came back in the header as %q", key, head[key])
		}
		if after := "x-trail-" + key[len("x-echo-"):]; err == nil && !slices.Equal(trail[after], values) {
			err = fmt.Errorf("%s came back in the trailer as %q", key, trail[after])
		}
	}
	return report{"head": len(head), "trail": len(trail)}, err
}

func with(ctx context.Context, more metadata.MD) context.Context {
	old, _ := metadata.FromOutgoingContext(ctx)
	return metadata.NewOutgoingContext(ctx, metadata.Join(old, more))
}

func health(ctx context.Context, target string) (report, error) {
	c, err := dial(target)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	got, err := healthpb.NewHealthClient(c).Check(ctx, &healthpb.HealthCheckRequest{Service: echo.Service})
	return report{"status": got.GetStatus().String()}, err
}
