// Command webhook labels the pods of which Alertmanager tells it: what the seed's projects 6 and 7 did with Flask and a
// kubectl process for each alert, here with one PATCH. It knows `resolved` as well, which they did not.
//
// Runs in a pod whose account may patch pods. Refuses, with 400, what is no notification of Alertmanager; answers 502 when
// the API server refuses, so that Alertmanager tries again.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"time"
)

const account = "/var/run/secrets/kubernetes.io/serviceaccount/"

// notification is the part of Alertmanager's webhook format that is needed.
type notification struct {
	Alerts []struct {
		Status string            `json:"status"`
		Labels map[string]string `json:"labels"`
	} `json:"alerts"`
}

type receiver struct {
	client http.Client
	label  string
}

func (r *receiver) patch(namespace, pod, value string) error {
	token, err := os.ReadFile(account + "token") // it is rotated
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]string{r.label: value}}})
	if err != nil {
		return err
	}
	path := fmt.Sprintf("https://kubernetes.default.svc/api/v1/namespaces/%s/pods/%s", url.PathEscape(namespace), url.PathEscape(pod))
	request, err := http.NewRequest(http.MethodPatch, path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+string(token))
	request.Header.Set("Content-Type", "application/merge-patch+json")
	answer, err := r.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)                                             // so that the connection is kept
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusNotFound { // a pod that is gone needs no label
		return fmt.Errorf("the API server answered %s", answer.Status)
	}
	return nil
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	var told notification
	if err := json.NewDecoder(request.Body).Decode(&told); err != nil {
		http.Error(w, "no notification of Alertmanager: "+err.Error(), http.StatusBadRequest)
		return
	}
	for _, alert := range told.Alerts {
		value := "high"
		if alert.Status == "resolved" {
			value = "normal"
		}
		namespace, pod := alert.Labels["namespace"], alert.Labels["pod"]
		if namespace == "" || pod == "" {
			continue
		}
		if err := r.patch(namespace, pod, value); err != nil {
			log.Printf("cannot label %s/%s %s: %v", namespace, pod, value, err)
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		log.Printf("labeled %s/%s %s", namespace, pod, value)
	}
}

func main() {
	label := flag.String("label", "", "key of the label to write")
	address := flag.String("address", "127.0.0.1:5000", "where to listen")
	flag.Parse()
	authority, err := os.ReadFile(account + "ca.crt")
	if err != nil || *label == "" {
		log.Fatalf("needs --label, and the account of a pod (%v)", err)
	}
	known := x509.NewCertPool()
	known.AppendCertsFromPEM(authority)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: known, MinVersion: tls.VersionTLS12}}
	labels := &receiver{client: http.Client{Timeout: 10 * time.Second, Transport: transport}, label: *label}
	log.Fatal(http.ListenAndServe(*address, labels))
}
