package sanitize

import "strings"

// executables maps each extension that a desktop runs at a double click to the reason. The
// list was made in August 2026 from those that several of Gmail, Outlook, Exchange Online,
// rspamd, amavis, MIMEDefang, MailScanner and Proxmox block, and from what has been abused since.
// Not in it is what a desktop only opens for the user to look at (archives, disk images,
// documents, source code), and what no desktop runs by itself (dll, sys, lib).
var executables = listed([]struct{ reason, extensions string }{
	{"a Windows program", "exe com scr pif cpl"},
	{"a Windows installer package", "msi msp msu msix msixbundle appx appxbundle appinstaller"},
	{"a Windows command script", "bat cmd"},
	{"a script of the Windows Script Host", "vb vbe vbs js jse ws wsc wsf wsh sct"},
	{"HTML that runs as a program", "hta hto"},
	{"a PowerShell script", "ps1 ps1xml ps2 ps2xml psc1 psc2 msh msh1 msh1xml msh2 msh2xml mshxml"},
	{"a shortcut that runs a program", "lnk scf url website shb shs xnk appref-ms desktop"},
	{"a Windows library or search file, which loads from other hosts (CVE-2025-24054)", "library-ms search-ms searchconnector-ms"},
	{"a Windows settings file that runs a program", "settingcontent-ms appcontent-ms gadget theme themepack deskthemepack wsb job"},
	{"a diagnostics package, which runs scripts (CVE-2022-30190)", "diagcab diagcfg diagpkg msrcincident"},
	{"a console or setup file that runs a program", "msc inf ins isp reg ppkg grp"},
	{"a ClickOnce or browser application", "application xbap"},
	{"compiled help, which runs scripts", "chm hlp hpj cnt"},
	{"a Java program", "jar jnlp"},
	{"a Python program", "pyc pyo pyw pyz pyzw"},
	{"a database application with code", "ade adp accde mda mdb mde mdt mdw mdz fxp prg"},
	{"a shortcut into an Access database", "mad maf mag mam maq mar mas mat mau mav maw"},
	{"an Office add-in", "xll wll xla xlam ppa ppam vsto"},
	{"a Visual Basic or Visual Studio project with code", "bas vbp vsmacros vsw"},
	{"an Office query, which loads from other hosts", "iqy oqy rqy dqy"},
	{"a remote desktop session of the sender's choice", "rdp"},
	{"a program of other systems", "app apk command terminal tool scpt workflow inetloc fileloc webloc pkg mpkg mobileconfig"},
	{"a file of a program that runs code in it", "pcd plg prf ops osd"},
})

func listed(groups []struct{ reason, extensions string }) map[string]string {
	m := map[string]string{}
	for _, g := range groups {
		for ext := range strings.FieldsSeq(g.extensions) {
			m[ext] = g.reason
		}
	}
	return m
}

// documents are extensions that people take for something to read, so that one before an
// executable extension ("invoice.pdf.exe") is there to deceive.
var documents = set(`pdf doc docx docm dot dotx rtf odt xls xlsx xlsm xlsb ods csv ppt pptx pps ppsx odp txt log md htm html
	xml eml msg one pub vsd jpg jpeg png gif bmp tif tiff webp heic svg mp3 mp4 wav avi mov mpg mpeg mkv wmv
	zip rar 7z gz tgz tar ics vcf`)

func set(words string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}
