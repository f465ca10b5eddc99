// SPDX-License-Identifier: Apache-2.0

// Package echo is the gRPC service that the tests' own client floods, cancels, holds and times out.
//
// Messages are protobuf's own wrappers, so that no generated code is kept and any gRPC library can call it:
//
//	Chat(stream UInt64Value) returns (stream UInt64Value)   each number comes back; ends with the caller's half-close
//	Wait(StringValue) returns (stream StringValue)          sends its header, then nothing until the caller leaves
//	Fail(StringValue) returns (StringValue)                 "CODE MESSAGE": ends with that status
//	Seen(StringValue) returns (StringValue)                 what became of the call with this x-call-id, as JSON
//
// Header and trailer of each answer repeat the call's x-echo-* metadata; the header says in x-deadline-ms how long the
// server was told it has, when it was told, and in x-saw-client-cert what x-forwarded-client-cert it saw.
package echo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const Service = "trammel.peers.Echo"

// Fate is what the server saw of one call that named itself.
type Fate struct {
	Messages uint64 `json:"messages"`
	End      string `json:"end"`      // "" while it runs; "half-close", "cancelled", "deadline" or an error
	EndedNs  int64  `json:"ended_ns"` // wall clock: the tests' programs share one machine
	Deadline int64  `json:"deadline_ms"`
}

type Server struct {
	mutex sync.Mutex
	fates map[string]*Fate
}

type service interface{ isEcho() }

func (*Server) isEcho() {}

func Register(to grpc.ServiceRegistrar) *Server {
	s := &Server{fates: map[string]*Fate{}}
	to.RegisterService(&grpc.ServiceDesc{
		ServiceName: Service,
		HandlerType: (*service)(nil),
		Methods:     []grpc.MethodDesc{unary("Fail", (*Server).fail), unary("Seen", (*Server).seen)},
		Streams: []grpc.StreamDesc{
			{StreamName: "Chat", Handler: s.chat, ClientStreams: true, ServerStreams: true},
			{StreamName: "Wait", Handler: s.wait, ServerStreams: true},
		},
		Metadata: "echo",
	}, s)
	return s
}

func unary(name string, call func(*Server, context.Context, string) (string, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(wrapperspb.StringValue)
		if err := decode(in); err != nil {
			return nil, err
		}
		head, trail := echoed(ctx)
		grpc.SetHeader(ctx, head)
		grpc.SetTrailer(ctx, trail)
		out, err := call(srv.(*Server), ctx, in.Value)
		if err != nil {
			return nil, err
		}
		return wrapperspb.String(out), nil
	}}
}

// echoed gives the metadata that goes back in front of and behind the messages.
func echoed(ctx context.Context) (head, trail metadata.MD) {
	head, trail = metadata.MD{}, metadata.MD{}
	in, _ := metadata.FromIncomingContext(ctx)
	for key, values := range in {
		if strings.HasPrefix(key, "x-echo-") {
			head[key] = values
			trail["x-trail-"+strings.TrimPrefix(key, "x-echo-")] = values
		}
	}
	if who := in.Get("x-forwarded-client-cert"); len(who) > 0 {
		head["x-saw-client-cert"] = who
	}
	if at, ok := ctx.Deadline(); ok {
		head.Set("x-deadline-ms", fmt.Sprint(time.Until(at).Milliseconds()))
	}
	return head, trail
}

func (s *Server) begin(ctx context.Context) *Fate {
	f := &Fate{Deadline: -1}
	if at, ok := ctx.Deadline(); ok {
		f.Deadline = time.Until(at).Milliseconds()
	}
	in, _ := metadata.FromIncomingContext(ctx)
	if id := in.Get("x-call-id"); len(id) == 1 {
		s.mutex.Lock()
		s.fates[id[0]] = f
		s.mutex.Unlock()
	}
	return f
}

func (s *Server) end(ctx context.Context, f *Fate, how error) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	f.EndedNs = time.Now().UnixNano()
	switch {
	case how == nil:
		f.End = "half-close"
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		f.End = "deadline"
	case ctx.Err() != nil:
		f.End = "cancelled"
	default:
		f.End = how.Error()
	}
	return how
}

func (s *Server) chat(_ any, stream grpc.ServerStream) error {
	ctx := stream.Context()
	f := s.begin(ctx)
	head, trail := echoed(ctx)
	stream.SetTrailer(trail)
	if err := stream.SendHeader(head); err != nil {
		return s.end(ctx, f, err)
	}
	for {
		number := new(wrapperspb.UInt64Value)
		if err := stream.RecvMsg(number); err == io.EOF {
			return s.end(ctx, f, nil)
		} else if err != nil {
			return s.end(ctx, f, err)
		}
		s.mutex.Lock()
		f.Messages++
		s.mutex.Unlock()
		if err := stream.SendMsg(number); err != nil {
			return s.end(ctx, f, err)
		}
	}
}

func (s *Server) wait(_ any, stream grpc.ServerStream) error {
	ctx := stream.Context()
	f := s.begin(ctx)
	if err := stream.RecvMsg(new(wrapperspb.StringValue)); err != nil {
		return s.end(ctx, f, err)
	}
	head, trail := echoed(ctx)
	stream.SetTrailer(trail)
	if err := stream.SendHeader(head); err != nil {
		return s.end(ctx, f, err)
	}
	<-ctx.Done()
	return s.end(ctx, f, status.FromContextError(ctx.Err()).Err())
}

func (s *Server) fail(_ context.Context, want string) (string, error) {
	var code codes.Code
	number, message, _ := strings.Cut(want, " ")
	if _, err := fmt.Sscan(number, (*uint32)(&code)); err != nil {
		return "", status.Error(codes.InvalidArgument, err.Error())
	}
	return message, status.Error(code, message) // nil when the code is 0
}

func (s *Server) seen(_ context.Context, id string) (string, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	f, ok := s.fates[id]
	if !ok {
		return "", status.Errorf(codes.NotFound, "no call with id %q was seen", id)
	}
	text, err := json.Marshal(f)
	return string(text), err
}
