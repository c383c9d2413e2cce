// A stand-in for Grafana's server, for tests: no Grafana can be had where they run.
//
// It reads what Grafana reads (grafana.ini, provisioning of data sources and dashboards, with $__file{} and variables
// filled in), keeps a password as Grafana does (taken from the configuration once, when the database is made), asks
// Prometheus through its data source, and answers the same HTTP API. It shows no pages and draws nothing.
package main

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"gopkg.in/yaml.v3"
)

var version = "0.0.0"

var variable = regexp.MustCompile(`\$(|__\w+){([^}]+)}`)

// fill fills in files and variables, as in a setting.
func fill(text string) string {
	return variable.ReplaceAllStringFunc(text, func(found string) string {
		parts := variable.FindStringSubmatch(found)
		if parts[1] == "__file" {
			read, err := os.ReadFile(parts[2])
			if err != nil {
				log.Fatalf("expanding %s: %v", found, err)
			}
			return strings.TrimSpace(string(read))
		}
		return os.Getenv(parts[2])
	})
}

// provisioned fills in what provisioning files may hold: a setting's, then $NAME once more; $$ is a dollar sign.
func provisioned(value any) any {
	switch given := value.(type) {
	case string:
		parts := strings.Split(given, "$$")
		for index, part := range parts {
			parts[index] = os.ExpandEnv(fill(part))
		}
		return strings.Join(parts, "$")
	case map[string]any:
		for key := range given {
			given[key] = provisioned(given[key])
		}
	case []any:
		for index := range given {
			given[index] = provisioned(given[index])
		}
	}
	return value
}

type settings map[string]map[string]string

func (all settings) read(path string) {
	file, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	section := ""
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			log.Fatalf("%s: %q is no setting", path, line)
		}
		if all[section] == nil {
			all[section] = map[string]string{}
		}
		all[section][strings.TrimSpace(key)] = fill(strings.TrimSpace(value))
	}
}

type server struct {
	settings   settings
	mutex      sync.Mutex
	dashboards map[string]map[string]any
	folders    []string
	sources    map[string]map[string]any
	failures   int
}

func (it *server) database() string { return filepath.Join(it.settings["paths"]["data"], "grafana.db") }

func hashed(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:])
}

// prepare makes the database at the first start; the password of the configuration counts then and never again.
func (it *server) prepare() {
	paths := it.settings["paths"]
	for _, folder := range []string{paths["data"], paths["logs"], paths["plugins"]} {
		if err := os.MkdirAll(folder, 0o750); err != nil {
			log.Fatal(err)
		}
	}
	if _, err := os.Stat(it.database()); err == nil {
		return
	}
	it.keep(it.settings["security"]["admin_password"])
}

func (it *server) keep(password string) {
	if err := os.WriteFile(it.database(), []byte(hashed(password)), 0o640); err != nil {
		log.Fatal(err)
	}
}

func entries(pattern, key string) (found []map[string]any) {
	paths, _ := filepath.Glob(pattern)
	for _, path := range paths {
		var content map[string]any
		read, err := os.ReadFile(path)
		if err == nil {
			err = yaml.Unmarshal(read, &content)
		}
		if err != nil || content["apiVersion"] != 1 {
			log.Fatalf("provisioning %s: %v, apiVersion %v", path, err, content["apiVersion"])
		}
		for _, one := range content[key].([]any) {
			found = append(found, provisioned(one).(map[string]any))
		}
	}
	return found
}

func (it *server) provision() {
	folder := it.settings["paths"]["provisioning"]
	it.sources = map[string]map[string]any{}
	for _, one := range entries(filepath.Join(folder, "datasources", "*.yaml"), "datasources") {
		it.sources[one["uid"].(string)] = one
	}
	for _, one := range entries(filepath.Join(folder, "dashboards", "*.yaml"), "providers") {
		it.folders = append(it.folders, one["options"].(map[string]any)["path"].(string))
	}
}

// look reads the dashboards again, as Grafana does every ten seconds.
func (it *server) look() {
	found := map[string]map[string]any{}
	for _, folder := range it.folders {
		paths, _ := filepath.Glob(filepath.Join(folder, "*.json"))
		for _, path := range paths {
			var content map[string]any
			read, _ := os.ReadFile(path)
			if err := json.Unmarshal(read, &content); err != nil || content["uid"] == nil || content["title"] == nil {
				log.Printf("dashboard %s can't be read: %v", path, err)
				continue
			}
			found[content["uid"].(string)] = content
		}
	}
	it.mutex.Lock()
	it.dashboards = found
	it.mutex.Unlock()
}

func (it *server) may(request *http.Request) bool {
	user, password, given := request.BasicAuth()
	if !given {
		return it.settings["auth.anonymous"]["enabled"] == "true"
	}
	it.mutex.Lock()
	defer it.mutex.Unlock()
	kept, _ := os.ReadFile(it.database())
	if it.failures < 5 && user == it.settings["security"]["admin_user"] && hashed(password) == string(kept) {
		it.failures = 0
		return true
	}
	it.failures++
	return false
}

// ask sends a query to the Prometheus of a data source, with its login and its certificates.
func ask(source map[string]any) error {
	data, _ := source["jsonData"].(map[string]any)
	secure, _ := source["secureJsonData"].(map[string]any)
	transport := &http.Transport{TLSClientConfig: &tls.Config{}}
	if data["tlsAuthWithCACert"] == true {
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		transport.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(secure["tlsCACert"].(string)))
		transport.TLSClientConfig.ServerName, _ = data["serverName"].(string)
	}
	request, err := http.NewRequest("GET", source["url"].(string)+"/api/v1/query?query=1%2B1", nil)
	if err != nil {
		return err
	}
	if source["basicAuth"] == true {
		request.SetBasicAuth(source["basicAuthUser"].(string), secure["basicAuthPassword"].(string))
	}
	answer, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != 200 || !strings.Contains(string(body), `"status":"success"`) {
		return fmt.Errorf("status %d", answer.StatusCode)
	}
	return nil
}

func say(writer http.ResponseWriter, status int, body any) {
	writer.Header().Set("Content-Type", "application/json")
	writer.WriteHeader(status)
	json.NewEncoder(writer).Encode(body)
}

type said = map[string]any

func (it *server) handler() http.Handler {
	mux, closed := http.NewServeMux(), http.NewServeMux()
	mux.HandleFunc("GET /api/health", func(writer http.ResponseWriter, _ *http.Request) {
		say(writer, 200, said{"database": "ok", "version": version, "commit": "stand-in"})
	})
	mux.HandleFunc("/", func(writer http.ResponseWriter, request *http.Request) {
		if !it.may(request) {
			say(writer, 401, said{"message": "Unauthorized"})
			return
		}
		closed.ServeHTTP(writer, request)
	})
	closed.HandleFunc("GET /api/org", func(writer http.ResponseWriter, _ *http.Request) {
		say(writer, 200, said{"id": 1, "name": "Main Org."})
	})
	closed.HandleFunc("GET /api/user", func(writer http.ResponseWriter, _ *http.Request) {
		say(writer, 200, said{"login": it.settings["security"]["admin_user"], "isGrafanaAdmin": true})
	})
	closed.HandleFunc("GET /api/datasources/uid/{uid}/health", func(writer http.ResponseWriter, request *http.Request) {
		source, known := it.sources[request.PathValue("uid")]
		if !known {
			say(writer, 404, said{"message": "Data source not found"})
		} else if err := ask(source); err != nil {
			say(writer, 400, said{"status": "ERROR", "message": err.Error()})
		} else {
			say(writer, 200, said{"status": "OK", "message": "Successfully queried the Prometheus API."})
		}
	})
	closed.HandleFunc("GET /api/search", func(writer http.ResponseWriter, _ *http.Request) {
		it.mutex.Lock()
		defer it.mutex.Unlock()
		found := []said{}
		for uid, one := range it.dashboards {
			found = append(found, said{"uid": uid, "title": one["title"], "type": "dash-db", "folderTitle": "etcd"})
		}
		say(writer, 200, found)
	})
	closed.HandleFunc("GET /api/dashboards/uid/{uid}", func(writer http.ResponseWriter, request *http.Request) {
		it.mutex.Lock()
		defer it.mutex.Unlock()
		if one, known := it.dashboards[request.PathValue("uid")]; known {
			say(writer, 200, said{"dashboard": one, "meta": said{"provisioned": true}})
			return
		}
		say(writer, 404, said{"message": "Dashboard not found"})
	})
	return mux
}

func (it *server) serve() {
	where := it.settings["server"]
	address := net.JoinHostPort(where["http_addr"], where["http_port"])
	log.Printf("HTTP server listens on %s, protocol %s", address, where["protocol"])
	if where["protocol"] == "https" {
		log.Fatal(http.ListenAndServeTLS(address, where["cert_file"], where["cert_key"], it.handler()))
	}
	log.Fatal(http.ListenAndServe(address, it.handler()))
}

func main() {
	words := os.Args[1:]
	if len(words) == 1 && (words[0] == "--version" || words[0] == "-v") {
		fmt.Printf("grafana version %s\n", version)
		return
	}
	told := map[string]string{}
	for index, word := range words {
		if name, value, ok := strings.Cut(strings.TrimLeft(word, "-"), "="); ok {
			told[name] = value
		} else if strings.HasPrefix(word, "--") && index+1 < len(words) {
			told[name] = words[index+1]
		}
	}
	if _, err := os.Stat(filepath.Join(told["homepath"], "public")); err != nil {
		log.Fatalf("the home path has no pages in it: %v", err)
	}
	it := &server{settings: settings{}}
	it.settings.read(filepath.Join(told["homepath"], "conf", "defaults.ini"))
	it.settings.read(told["config"])
	if words[0] == "cli" && words[len(words)-2] == "reset-admin-password" {
		password, _ := io.ReadAll(os.Stdin)
		it.keep(strings.TrimSpace(string(password)))
		return
	}
	if words[0] != "server" {
		log.Fatalf("unknown command %q", words[0])
	}
	it.prepare()
	it.provision()
	it.look()
	go func() {
		for range time.Tick(10 * time.Second) {
			it.look()
		}
	}()
	it.serve()
}
