// SPDX-License-Identifier: Apache-2.0

// echod PORT [STREAMS]: serves package echo and the health service on this port, IPv4 and IPv6, with at most STREAMS
// at once on a connection (0, the default: no limit of its own). TERM ends it as gRPC servers should end: GOAWAY, no new
// streams, and what runs to its end.
package main

import (
	"log"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // callers may compress
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"trammel.dev/peers/echo"
)

func main() {
	options := []grpc.ServerOption{grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 1, PermitWithoutStream: true})}
	if len(os.Args) > 2 {
		streams, err := strconv.ParseUint(os.Args[2], 10, 32)
		if err != nil {
			log.Fatal(err)
		}
		options = append(options, grpc.MaxConcurrentStreams(uint32(streams)))
	}
	listener, err := net.Listen("tcp", ":"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(options...)
	echo.Register(server)
	fine := health.NewServer()
	fine.SetServingStatus(echo.Service, healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(server, fine)
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	go func() {
		<-asked
		server.GracefulStop()
		os.Exit(0)
	}()
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
	select {}
}
