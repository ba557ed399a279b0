// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"slices"
	"strings"
)

// secretTool is what is known of how a tool is told a secret by an option of one letter: what -p means
// differs from tool to tool. The zero value is a tool that takes none.
type secretTool struct {
	glued  string // letters whose secret stands in the same argument: -pX, where -p alone asks for it
	option string // letters whose secret stands in the same argument or is the next one
	user   string // letters whose value is a user's name, one of separators, and the secret
	after  string // the above count from this word on only
	until  byte   // separator of name and secret
	value  bool   // the next argument is the value of such a letter
	once   bool   // what follows the secret is another program
}

// is takes a for the tool in use from here on if it is the name of one that is known: it may be the
// program, or one that another runs (sudo, docker exec, a script).
func (t *secretTool) is(a []byte) bool {
	if bytes.IndexByte(a, '@') >= 0 {
		return false // user:password@host/mysql
	}
	name := strings.Trim(string(baseName(a)), "\"'`$(){};|&")
	if t.after != "" && name == t.after {
		t.after = ""
		return true
	}
	if known := toolOf(name); known != (secretTool{}) {
		*t = known
		return true
	}
	return false
}

func toolOf(name string) secretTool {
	switch name {
	case "sshpass":
		return secretTool{option: "p", once: true}
	case "mongo", "mongosh", "mongodump", "mongorestore", "mongoexport", "mongoimport", "rdesktop":
		return secretTool{option: "p"}
	case "redis-cli", "keydb-cli", "valkey-cli":
		return secretTool{option: "a"}
	case "ldapsearch", "ldapadd", "ldapmodify", "ldapdelete", "ldapwhoami", "ldapcompare", "ldappasswd":
		return secretTool{option: "w"}
	case "zip", "unzip", "ipmitool", "sqlcmd", "bcp", "mosquitto_pub", "mosquitto_sub": //nolint:misspell // the name of the program
		return secretTool{option: "P"}
	case "snmpget", "snmpwalk", "snmpset", "snmpbulkwalk":
		return secretTool{option: "AX"}
	case "7z", "7za", "7zr":
		return secretTool{glued: "p"}
	case "docker", "podman", "nerdctl", "helm", "buildah", "skopeo", "az": // -p of run is a port
		return secretTool{option: "p", after: "login"}
	case "curl":
		return secretTool{user: "uU", until: ':'}
	case "http", "https": // HTTPie
		return secretTool{user: "a", until: ':'}
	case "ab":
		return secretTool{user: "AP", until: ':'}
	case "smbclient", "rpcclient":
		return secretTool{user: "U", until: '%'}
	case "lftp":
		return secretTool{user: "u", until: ','}
	}
	if strings.HasPrefix(name, "mysql") || strings.HasPrefix(name, "mariadb") {
		return secretTool{glued: "p"}
	}
	return secretTool{}
}

// mask returns an argument of the tool without its secret; next says that this is the next argument.
func (t *secretTool) mask(a []byte) (out []byte, next bool) {
	if t.value {
		t.value = false
		return t.maskUser(a), false
	}
	if len(a) < 2 || a[0] != '-' || t.after != "" {
		return a, false
	}
	if t.user != "" {
		for _, long := range []string{"--user", "--proxy-user", "--auth"} {
			if value, ok := bytes.CutPrefix(a, []byte(long+"=")); ok {
				return slices.Concat([]byte(long+"="), t.maskUser(value)), false
			}
			t.value = t.value || string(a) == long
		}
	}
	has := func(letters string) bool { return strings.IndexByte(letters, a[1]) >= 0 }
	switch {
	case len(a) > 2 && (has(t.glued) || has(t.option)):
		t.done()
		return slices.Concat(a[:2], []byte(masked)), false
	case len(a) > 2 && has(t.user):
		return slices.Concat(a[:2], t.maskUser(a[2:])), false
	case len(a) == 2 && has(t.user):
		t.value = true
	case len(a) == 2 && has(t.option):
		t.done()
		return a, true
	}
	return a, false
}

func (t *secretTool) done() {
	if t.once {
		*t = secretTool{}
	}
}

// maskUser masks the password of a user's.
func (t *secretTool) maskUser(a []byte) []byte {
	if i := bytes.IndexByte(a, t.until); i >= 0 {
		return slices.Concat(a[:i+1], []byte(masked))
	}
	return a
}
