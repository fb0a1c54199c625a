package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// fileSuffix follows the name of a secret variable in that of another one, which names a
// file with the value.
const fileSuffix = "_FILE"

// fileKeySuffix is the same in a configuration file: adminTokenFile.
const fileKeySuffix = "File"

// withFiles adds, to each secret variable, the one that names a file with its value.
func withFiles(table []variable) []variable {
	all := slices.Clone(table)
	for _, v := range table {
		if v.Secret {
			twin := variable{region: v.region}
			twin.Name, twin.Key, twin.Allowed = v.Name+fileSuffix, v.Key+fileKeySuffix, "the path of a file that holds the value, and nothing else"
			all = append(all, twin)
		}
	}
	return all
}

// maxFileBytes is more than any list of tokens or chain of certificates has; it keeps a
// device or the wrong file from being read to its end.
const maxFileBytes = 1 << 20

// readFile reads path. Its errors are problem texts, as those of a kind's parse are.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	switch {
	case err != nil:
		return nil, unreadable(err)
	case len(content) > maxFileBytes:
		return nil, fmt.Errorf("names a file of more than %s", SizeText(maxFileBytes))
	case len(bytes.TrimSpace(content)) == 0:
		return nil, errors.New("names a file with nothing in it")
	}
	return content, nil
}

func unreadable(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err // the path is shown already, where it may be
	}
	return fmt.Errorf("cannot be read: %w", err)
}

// readSecret takes the value of a secret variable from the file that NAME_FILE names.
func (l *loader) readSecret(v variable, path string) {
	name := v.Name + fileSuffix
	allowed := "the path of a file that holds the value, and nothing else; without " + v.Name
	if l.isSet(v.Name) {
		l.refuseFile(name, path, "is set, and so is "+l.label(v.Name), "one of the two")
		return
	}
	l.files[v.Name] = path
	content, err := readFile(path)
	if err != nil {
		l.refuseFile(name, path, err.Error(), allowed)
		return
	}
	l.text[v.Name] = strings.TrimSpace(string(content))
}

// refuseFile is refuse for the variable that names a secret's file.
func (l *loader) refuseFile(name, path, problem, allowed string) {
	// What has not the look of a path may be the secret itself, put where its file belongs.
	if !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "./") && !strings.HasPrefix(path, "../") {
		path = masked
	}
	m := Mistake{Variable: name, Value: path, Problem: problem, Allowed: allowed}
	if line, isInFile := l.lines[name]; isInFile {
		m.Key, m.Place, m.line = l.table[l.position(name)].Key+fileKeySuffix, l.file.place(line), line
	}
	l.mistakes = append(l.mistakes, m)
}

// pemFile accepts the path of a file, which is read by the rule that it belongs to.
func pemFile(what string) kind[string] {
	return kind[string]{
		allowed: "the path of a PEM file with " + what,
		parse: func(text string) (string, error) {
			if strings.Contains(text, "-----BEGIN") {
				return "", errors.New("is a text in PEM; it names a file")
			}
			return text, nil
		},
		credentials: true,
	}
}

// checkTLS tries the certificate and its key as the listener will.
func (l *loader) checkTLS() {
	cert, key := l.cfg.TLSCert, l.cfg.TLSKey
	if cert == "" && key == "" || l.isWrong(certVariable) || l.isWrong(keyVariable) {
		return
	}
	for _, pair := range [][2]string{{certVariable, keyVariable}, {keyVariable, certVariable}} {
		if one, other := pair[0], pair[1]; l.isSet(one) && !l.isSet(other) {
			l.refuse(other, "is not set, but "+l.label(one)+" is", "both, for HTTPS, or neither, for HTTP")
		}
	}
	certPEM := l.readPEM(certVariable, cert)
	keyPEM := l.readPEM(keyVariable, key)
	if l.isWrong(certVariable) || l.isWrong(keyVariable) {
		return
	}
	if err := checkCertificates(certPEM); err != nil {
		l.refuse(certVariable, err.Error(), l.table[l.position(certVariable)].Allowed)
	} else if _, err := tls.X509KeyPair(certPEM, keyPEM); err != nil {
		l.refuse(keyVariable, "does not go with the certificate in "+l.label(certVariable)+": "+strings.TrimPrefix(err.Error(), "tls: "),
			l.table[l.position(keyVariable)].Allowed)
	}
}

// readPEM reads the file of a variable that is set.
func (l *loader) readPEM(name, path string) []byte {
	if path == "" {
		return nil
	}
	content, err := readFile(path)
	if err != nil {
		l.refuse(name, err.Error(), l.table[l.position(name)].Allowed)
	}
	return content
}

// checkCertificates refuses PEM without a certificate, or with one that cannot be read.
func checkCertificates(content []byte) error {
	found := 0
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		found++
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("names a file whose certificate %d cannot be read: %s", found, strings.TrimPrefix(err.Error(), "x509: "))
		}
	}
	if found == 0 {
		return errors.New("names a file without a certificate in PEM")
	}
	return nil
}

// checkCA holds a region's CA file against its endpoint.
func (l *loader) checkCA(r Region) {
	name := regionPrefix(r.Name) + "CA_FILE"
	switch {
	case r.CAFile == "":
	case r.Embedded():
		l.refuse(name, "is set, but the region is a folder ("+l.label(regionPrefix(r.Name)+"ENDPOINT")+")", "not set: an embedded region has no certificate")
	case strings.HasPrefix(r.Endpoint, "http://"):
		l.refuse(name, "is set, but nothing is encrypted on the way to "+l.label(regionPrefix(r.Name)+"ENDPOINT")+" ("+r.Endpoint+")", "not set; or an endpoint with https://")
	default:
		if content := l.readPEM(name, r.CAFile); content != nil {
			if err := checkCertificates(content); err != nil {
				l.refuse(name, err.Error(), l.table[l.position(name)].Allowed)
			}
		}
	}
}
