// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// FuzzMaskSecrets: a secret in a place that is known is not in what is shown, whatever stands around it.
func FuzzMaskSecrets(f *testing.F) {
	f.Add("root", "hunter2", "tcp(db:3306)/x")
	f.Add("me", "p4ss", "host/mysql")
	f.Add("u", "secret", "")
	f.Add("a", "xyz1\x00y", "@")
	f.Fuzz(func(t *testing.T, user, secret, after string) {
		word := func(s string) bool {
			return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') })
		}
		if !word(user) || !word(secret) || len(secret) < 4 || strings.Contains(user+after, secret) || strings.ContainsAny(after, "@: ") || strings.HasPrefix(after, "sha") {
			return
		}
		for _, form := range []string{"%s:%s@%s", "--dsn=%s:%s@%s", "DSN=%s:%s@%s", "x://%s:%s@%s"} {
			in := fmt.Sprintf("app\x00"+form, user, secret, after)
			if out := MaskSecrets([]byte(in)); bytes.Contains(out, []byte(secret)) {
				t.Errorf("MaskSecrets(%q) = %q: the secret is in it", in, out)
			}
		}
	})
}

func TestMaskSecrets(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"plain":            {"sshd|-D|-p|22", "sshd|-D|-p|22"},
		"assigned":         {"app|--password=hunter2|--port=80", "app|--password=***|--port=80"},
		"next":             {"app|--token|abc|-v", "app|--token|***|-v"},
		"next is a flag":   {"app|--token|-v", "app|--token|-v"},
		"variable":         {"env|DB_PASSWORD=x|HOME=/root", "env|DB_PASSWORD=***|HOME=/root"},
		"property":         {"java|-Djavax.net.ssl.keyStorePassword=x", "java|-Djavax.net.ssl.keyStorePassword=***"},
		"key, as a word":   {"app|--api-key=x|--keymap=us|--monkey=y", "app|--api-key=***|--keymap=us|--monkey=y"},
		"in a URL":         {"pg|postgres://u:p@host/db?x=1", "pg|postgres://u:***@host/db?x=1"},
		"two URLs":         {"x|a://u:p@h,b://v:q@i", "x|a://u:***@h,b://v:***@i"},
		"no password":      {"x|https://u@host/", "x|https://u@host/"},
		"mysql":            {"/usr/bin/mysqldump|-uroot|-phunter2|db", "/usr/bin/mysqldump|-uroot|-p***|db"},
		"not mysql":        {"cp|-pr|a|b", "cp|-pr|a|b"},
		"curl":             {"curl|-u|me:pw|http://h/", "curl|-u|me:***|http://h/"},
		"access key":       {"aws|AKIAIOSFODNN7EXAMPLE|x", "aws|AKIA***|x"},
		"not quite a key":  {"aws|AKIAiosfodnn7example|x", "aws|AKIAiosfodnn7example|x"},
		"private key":      {"x|-----BEGIN RSA PRIVATE KEY-----\nabc", "x|***"},
		"a script":         {"sh|-c|export A=1 TOKEN=abc; run --secret s3 -v", "sh|-c|export A=1 TOKEN=*** run --secret *** -v"},
		"mariadb":          {"mariadb-dump|-uroot|-phunter2|-P3306|db", "mariadb-dump|-uroot|-p***|-P3306|db"},
		"mysql asks":       {"mysql|-p|db", "mysql|-p|db"},
		"run by another":   {"docker|exec|-it|db|mysql|-uroot|-phunter2", "docker|exec|-it|db|mysql|-uroot|-p***"},
		"sudo":             {"sudo|-u|app|redis-cli|-p|6379|-a|s3cret|get|x", "sudo|-u|app|redis-cli|-p|6379|-a|***|get|x"},
		"sshpass":          {"sshpass|-p|hunter2|ssh|-p|2222|h", "sshpass|-p|***|ssh|-p|2222|h"},
		"sshpass, glued":   {"sshpass|-phunter2|ssh|h", "sshpass|-p***|ssh|h"},
		"its variable":     {"env|SSHPASS=hunter2|sshpass|-e|ssh|h", "env|SSHPASS=***|sshpass|-e|ssh|h"},
		"curl, glued":      {"curl|-ume:pw|http://h/", "curl|-ume:***|http://h/"},
		"curl, long":       {"curl|--user=me:pw|--proxy-user|p:q|http://h/", "curl|--user=me:***|--proxy-user|p:***|http://h/"},
		"curl's user":      {"curl|-u|me|http://h:80/", "curl|-u|me|http://h:80/"},
		"a header":         {"curl|-H|Authorization: Bearer abc.def|http://h/", "curl|-H|Authorization: Bearer ***|http://h/"},
		"another header":   {"curl|-H|X-Api-Key: abc|-H|Accept: text/html", "curl|-H|X-Api-Key: ***|-H|Accept: text/html"},
		"a header quoted":  {`sh|-c|curl -H "Authorization: Basic abc" h`, `sh|-c|curl -H "Authorization: Basic *** h`},
		"psql":             {"sh|-c|PGPASSWORD=x psql -p 5432 -h h", "sh|-c|PGPASSWORD=*** psql -p 5432 -h h"},
		"conninfo":         {"psql|host=h port=5432 password=x", "psql|host=h port=5432 password=***"},
		"docker's -e":      {"docker|run|-p|8080:80|-e|MYSQL_PWD=x|img", "docker|run|-p|8080:80|-e|MYSQL_PWD=***|img"},
		"docker login":     {"docker|login|-u|me|-p|pw|reg", "docker|login|-u|me|-p|***|reg"},
		"options of mount": {"mount|-o|username=u,password=p,uid=0|//h/s|/m", "mount|-o|username=u,password=***|//h/s|/m"},
		"a URL's end":      {"curl|https://h/x?a=1&token=abc&b=2", "curl|https://h/x?a=1&token=***"},
		"openssl":          {"openssl|rsa|-passin|pass:x|-in|f", "openssl|rsa|-passin|pass:***|-in|f"},
		"ldap":             {"ldapsearch|-D|cn=a|-w|pw|-p|389", "ldapsearch|-D|cn=a|-w|***|-p|389"},
		"samba":            {"smbclient|-U|me%pw|//h/s", "smbclient|-U|me%***|//h/s"},
		"in a script":      {"sh|-c|cd /x && mysql -phunter2 db; ss -p", "sh|-c|cd /x && mysql -p*** db; ss -p"},
		"ports of nginx":   {"nginx|-p|8080|-a|x|-w|y", "nginx|-p|8080|-a|x|-w|y"},
		"ssh":              {"ssh|-p|8080|mysql.example.org", "ssh|-p|8080|mysql.example.org"},
		"nothing assigned": {"app|--password=", "app|--password="},
		"empty":            {"", ""},

		"a data source":           {"app|--dsn|root:hunter2@tcp(db:3306)/x", "app|--dsn|root:***@tcp(db:3306)/x"},
		"a data source, assigned": {"app|--dsn=root:hunter2@tcp(db:3306)/x", "app|--dsn=root:***@tcp(db:3306)/x"},
		"of mysql":                {"app|root:hunter2@tcp(db:3306)/mysql", "app|root:***@tcp(db:3306)/mysql"},
		"a URL of mysql":          {"app|mysql://root:hunter2@db/mysql", "app|mysql://root:***@db/mysql"},
		"without a scheme":        {"curl|me:pw@host/x", "curl|me:***@host/x"},
		"with an @ in it":         {"curl|me:p@w@host", "curl|me:***@host"},
		"with all else in it":     {"app|me:p/w:1?#=,;&@host", "app|me:***@host"},
		"in a variable":           {"env|DSN=me:pw@h", "env|DSN=me:***@h"},
		"in a list":               {"app|--brokers|h1:9092,me:pw@h2", "app|--brokers|h1:***@h2"},
		"in a script, on a line":  {"sh|-c|set -e\ncurl 'me:pw@h'\tx", "sh|-c|set -e\ncurl 'me:***@h'\tx"},
		"in JSON":                 {`app|{"dsn":"me:pw@h"}`, `app|{"dsn":***@h"}`},
		"git":                     {"git|clone|git@host:path/x", "git|clone|git@host:path/x"},
		"an image":                {"docker|run|reg:5000/i@sha256:abc", "docker|run|reg:5000/i@sha256:abc"},
		"IPv6":                    {"ping|fe80::1|fe80::1@eth0|[::1]:80", "ping|fe80::1|fe80::1@eth0|[::1]:80"},
		"times":                   {"at|12:30|12:30@mon|12:30:59@mon", "at|12:30|12:30@mon|12:30:59@mon"},
		"ports":                   {"app|a:b|host:80|:8080|x:", "app|a:b|host:80|:8080|x:"},
		"a URL with an @":         {"curl|https://h:80/@me|http://u@h:80/", "curl|https://h:80/@me|http://u@h:80/"},
		"an empty password":       {"app|me:@host", "app|me:@host"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := []byte(strings.ReplaceAll(tt.in, "|", "\x00"))
			if got := strings.ReplaceAll(string(MaskSecrets(in)), "\x00", "|"); got != tt.want {
				t.Errorf("MaskSecrets(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}
