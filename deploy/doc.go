// Package deploy holds what an installation needs beside the programs: systemd units
// with their users and folders, and a web server in front of the page. Its tests ask
// systemd, nginx and the programs themselves whether it works.
package deploy
