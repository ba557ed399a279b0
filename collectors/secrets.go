// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
)

// masked stands where a secret was.
const masked = "***"

// MaskSecrets returns command-line arguments, separated by NUL, without what looks like a secret in
// them. It is a best effort: nobody can know what a bare argument means. It masks the values of
// options, variables, settings and headers whose name says so (--password=x, --token x, DB_PASSWORD=x,
// -o user=u,password=x, Authorization: Bearer x), passwords in URLs and in user:password@host, what known tools take behind a
// letter (mysql -pX, sshpass -p X, curl -u user:X), access keys that begin with AKIA, and private keys.
func MaskSecrets(b []byte) []byte { return maskArgs(b, 0) }

// maskArgs masks in arguments between separators. What holds blanks itself, such as the script of sh
// -c, is taken as arguments once more.
func maskArgs(b []byte, separator byte) []byte {
	args := bytes.Split(b, []byte{separator})
	hide := false
	var tool secretTool
	for i, a := range args {
		if hide && isScheme(a) {
			continue // of Authorization: Bearer x
		}
		if hide && len(a) > 0 && a[0] != '-' {
			args[i], hide = []byte(masked), false
			continue
		}
		hide = false
		if separator == 0 && bytes.IndexByte(a, ' ') >= 0 && !bytes.Contains(a, []byte("-----BEGIN ")) {
			args[i] = maskArgs(a, ' ')
			continue
		}
		_, _, assigned := bytes.Cut(a, []byte{'='})
		switch {
		case bytes.Contains(a, []byte("-----BEGIN ")):
			args[i] = []byte(masked)
			continue
		case !assigned && len(a) > 2 && (a[0] == '-' || a[len(a)-1] == ':') && secretName(a):
			hide = true
			continue
		}
		if tool.is(a) {
			continue
		}
		if args[i], hide = tool.mask(a); !hide {
			args[i] = maskKeys(maskSettings(maskUsers(maskURL(args[i]))))
		}
	}
	return bytes.Join(args, []byte{separator})
}

// isScheme knows the word between a header's name and its secret.
func isScheme(a []byte) bool {
	switch strings.ToLower(string(a)) {
	case "bearer", "basic", "digest", "token":
		return true
	}
	return false
}

func baseName(path []byte) []byte { return path[bytes.LastIndexByte(path, '/')+1:] }

// secretName says whether an option or variable of that name holds a secret.
func secretName(name []byte) bool {
	if len(name) > 64 {
		return false
	}
	low := bytes.ToLower(name)
	for _, part := range []string{"passw", "passphrase", "secret", "token", "apikey", "credential"} {
		if bytes.Contains(low, []byte(part)) {
			return true
		}
	}
	words := bytes.FieldsFunc(low, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	return slices.ContainsFunc(words, func(w []byte) bool {
		switch string(w) {
		case "pass", "sshpass", "pwd", "key", "auth", "authorization":
			return true
		}
		return false
	})
}

// maskURL masks the password of scheme://user:password@host.
func maskURL(a []byte) []byte {
	for from := 0; ; {
		i := bytes.Index(a[from:], []byte("://"))
		if i < 0 {
			return a
		}
		from += i + 3
		host := a[from:]
		if end := bytes.IndexAny(host, "/?# "); end >= 0 {
			host = host[:end]
		}
		at := bytes.LastIndexByte(host, '@')
		colon := bytes.IndexByte(host, ':')
		if at > 0 && colon >= 0 && colon < at {
			a = slices.Concat(a[:from+colon+1], []byte(masked), a[from+at:])
		}
	}
}

// maskUsers masks the password of user:password@host, which has no scheme: a data source of a driver
// (root:hunter2@tcp(db:3306)/x), or the host of curl. It begins with the argument, or behind what may
// stand before it; it ends with the last @, as a password may hold one.
func maskUsers(a []byte) []byte {
	if bytes.IndexByte(a, '@') < 0 {
		return a
	}
	for from := 0; from < len(a); {
		word := a[from:]
		if end := bytes.IndexAny(word, " \t\r\n\v\f"); end >= 0 {
			word = word[:end]
		}
		if colon, at := userPassword(word); at > 0 {
			a = slices.Concat(a[:from+colon+1], []byte(masked), a[from+at:])
			from += colon + 1 + len(masked)
			continue
		}
		n := bytes.IndexAny(word, "=,;&\"'`({[")
		if n < 0 {
			n = len(word)
		}
		from += n + 1
	}
	return a
}

// userPassword finds the colon and the last @ of a word that is user:password@rest; at is 0 if it is not.
func userPassword(word []byte) (colon, at int) {
	colon, at = bytes.IndexAny(word, ":/@"), bytes.LastIndexByte(word, '@')
	if colon <= 0 || word[colon] != ':' || at <= colon+1 {
		return 0, 0
	}
	secret, rest := word[colon+1:at], word[at+1:]
	switch {
	case string(secret) == masked: // of a URL
	case bytes.HasPrefix(secret, []byte("//")): // a URL without a password, or with an @ further on
	case bytes.Contains(secret, []byte("://")): // jdbc:mysql://…
	case bytes.HasPrefix(rest, []byte("sha256:")), bytes.HasPrefix(rest, []byte("sha512:")): // an image
	case isTime(word[:at]):
	default:
		if _, err := netip.ParseAddr(string(word[:at])); err == nil {
			return 0, 0
		}
		return colon, at
	}
	return 0, 0
}

// isTime knows 12:30 and 12:30:59.
func isTime(b []byte) bool {
	if len(b) != len("12:30") && len(b) != len("12:30:59") {
		return false
	}
	for i, c := range b {
		if i%3 == 2 && c != ':' || i%3 != 2 && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// maskSettings masks from the first secret's value on in name=value, and in lists of such (mount -o, the
// end of a URL): a secret may hold what stands between two settings.
func maskSettings(a []byte) []byte {
	if rest, ok := bytes.CutPrefix(a, []byte("pass:")); ok && len(rest) > 0 { // openssl -passin
		return []byte("pass:" + masked)
	}
	for from := 0; ; {
		n := bytes.IndexByte(a[from:], '=')
		if n < 0 {
			return a
		}
		name := a[from : from+n]
		name = name[bytes.LastIndexAny(name, ",;&?")+1:]
		from += n + 1
		if from < len(a) && secretName(name) {
			return append(bytes.Clone(a[:from]), masked...)
		}
	}
}

// maskKeys masks the identifiers of access keys.
func maskKeys(a []byte) []byte {
	const prefix, rest = "AKIA", 16
	i := bytes.Index(a, []byte(prefix))
	if i < 0 || len(a) < i+len(prefix)+rest {
		return a
	}
	for _, c := range a[i+len(prefix) : i+len(prefix)+rest] {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return a
		}
	}
	return slices.Concat(a[:i+len(prefix)], []byte(masked), a[i+len(prefix)+rest:])
}
