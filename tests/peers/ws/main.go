// SPDX-License-Identifier: Apache-2.0

// ws: WebSocket peers on gorilla/websocket.
//
//	ws serve PORT              echoes each message in its kind; /close/CODE ends with that code at once; pings are answered
//	ws load URL N BYTES ROUNDS N connections at once, each echoes ROUNDS messages of BYTES (text and binary in turn),
//	                           pings between, then closes with 1000 and expects it back; prints JSON, exits 1 when anything was wrong
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const withinS = 90 // a bound for what hangs

var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }, Subprotocols: []string{"echo.trammel"}}

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "serve":
		http.HandleFunc("/", echo)
		http.HandleFunc("/close/{code}", closing)
		log.Fatal(http.ListenAndServe(":"+os.Args[2], nil))
	case len(os.Args) == 6 && os.Args[1] == "load":
		load(os.Args[2], number(os.Args[3]), number(os.Args[4]), number(os.Args[5]))
	default:
		log.Fatal("ws serve PORT | ws load URL N BYTES ROUNDS")
	}
}

func number(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		log.Fatal(err)
	}
	return n
}

func echo(w http.ResponseWriter, r *http.Request) {
	c, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	for {
		kind, message, err := c.ReadMessage()
		if err != nil {
			return
		}
		if err := c.WriteMessage(kind, message); err != nil {
			return
		}
	}
}

func closing(w http.ResponseWriter, r *http.Request) {
	c, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	code := number(r.PathValue("code"))
	c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, "as asked"), time.Now().Add(time.Second))
	c.ReadMessage()
}

// one holds a conversation: open() is called when the connection is, and returns when all are.
func one(url string, id, size, rounds int, open func()) (err error) {
	c, answer, err := websocket.DefaultDialer.Dial(url, http.Header{"x-request-id": {fmt.Sprintf("ws-%d", id)}})
	open()
	if err != nil {
		if answer != nil {
			return fmt.Errorf("%w: %s", err, answer.Status)
		}
		return err
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(withinS * time.Second))
	pongs := 0
	c.SetPongHandler(func(string) error { pongs++; return nil })
	for round := range rounds {
		kind := []int{websocket.TextMessage, websocket.BinaryMessage}[round%2]
		message := bytes.Repeat([]byte(fmt.Sprintf("%d/%d ", id, round)), size/4)[:size]
		if err := c.WriteControl(websocket.PingMessage, []byte("there?"), time.Now().Add(withinS*time.Second)); err != nil {
			return err
		}
		if err := send(c, kind, message); err != nil {
			return err
		}
		got, back, err := c.ReadMessage()
		if err != nil {
			return err
		}
		if got != kind || !bytes.Equal(back, message) {
			return fmt.Errorf("another message came back: kind %d, %d bytes", got, len(back))
		}
	}
	if pongs != rounds {
		return fmt.Errorf("%d pongs for %d pings", pongs, rounds)
	}
	if err := c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(withinS*time.Second)); err != nil {
		return err
	}
	_, _, err = c.ReadMessage()
	var end *websocket.CloseError
	if errors.As(err, &end) && end.Code == websocket.CloseNormalClosure {
		return nil
	}
	return fmt.Errorf("ended with %v", err)
}

// send writes a message in parts; the library makes a frame of each buffer that is full.
func send(c *websocket.Conn, kind int, message []byte) error {
	w, err := c.NextWriter(kind)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, bytes.NewReader(message)); err != nil {
		return err
	}
	return w.Close()
}

func load(url string, n, size, rounds int) {
	var mutex sync.Mutex
	var done, all sync.WaitGroup
	ok, bad := 0, map[string]int{}
	all.Add(n)
	for id := range n {
		done.Go(func() {
			err := one(url, id, size, rounds, func() { all.Done(); all.Wait() })
			mutex.Lock()
			defer mutex.Unlock()
			if err != nil {
				bad[err.Error()]++
			} else {
				ok++
			}
		})
	}
	done.Wait()
	line, _ := json.Marshal(map[string]any{"ok": ok, "bad": bad})
	fmt.Println(string(line))
	if ok != n {
		os.Exit(1)
	}
}
