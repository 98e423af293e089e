package script

import (
	"slices"
	"strings"
)

// A language is one of those that are told by their words.
type language int

const (
	inBatch language = iota
	inPowerShell
	inVisualBasic
	inJavaScript
	inMIRC
	languages
)

var languageChecks = [languages]string{batch, powershell, visualBasic, javascript, mirc}

func languageOf(check string) language { return language(slices.Index(languageChecks[:], check)) }

// A deed is what a script does, in the words of people.
type deed int

const (
	downloads deed = iota
	runs
	writes
	stays
	disarms
	destroys
	hides
	contacts
	deeds
)

var deedNames = [deeds]string{
	"downloads", "runs commands", "writes files", "starts again by itself", "switches protection off", "destroys backups or files",
	"decodes hidden content", "talks to IRC",
}

// noDeed marks words that only tell the language.
const noDeed deed = -1

// A meaning is what a word says: something about the language, or what is done, or both.
type meaning struct {
	in    []language // empty: of any
	deed  deed
	words string // in lower case, separated by blanks
}

// meanings is the table of words. What stands behind the last dot of a longer word is looked up too:
// "downloadstring" is found in "(new-object net.webclient).downloadstring(...)".
var meanings = []meaning{
	{[]language{inBatch}, noDeed, "@echo setlocal endlocal %~dp0 errorlevel enabledelayedexpansion goto %cd% %errorlevel% %random%"},
	{[]language{inBatch}, runs, "%comspec%"},
	{[]language{inPowerShell}, noDeed, "new-object write-host write-output get-childitem get-item foreach-object where-object set-executionpolicy set-strictmode " +
		"join-path test-path get-content convertto-json $psscriptroot $env $args $_ out-null select-object -eq -ne import-module"},
	{[]language{inPowerShell}, runs, "invoke-expression iex start-process invoke-command invoke-item saps start-job"},
	{[]language{inPowerShell}, downloads, "downloadstring downloadfile downloaddata net.webclient webclient invoke-webrequest iwr invoke-restmethod irm start-bitstransfer"},
	{[]language{inPowerShell}, writes, "set-content out-file writeallbytes writealltext add-content expand-archive"},
	{[]language{inPowerShell}, hides, "frombase64string gzipstream deflatestream convertto-securestring -bxor"},
	{[]language{inPowerShell}, disarms, "set-mppreference add-mppreference amsiutils amsiinitfailed"},
	{[]language{inPowerShell}, stays, "register-scheduledtask new-scheduledtask new-service set-itemproperty"},
	{[]language{inVisualBasic}, noDeed, "dim vbcrlf createobject wscript.createobject wscript.sleep wscript.arguments isempty msgbox ubound redim wend elseif"},
	{[]language{inVisualBasic}, runs, "executeglobal"},
	{[]language{inVisualBasic}, hides, "chrw strreverse chrb"},
	{[]language{inJavaScript}, noDeed, "var function activexobject wscript.echo wscript.quit wscript.scriptfullname typeof"},
	{[]language{inJavaScript}, hides, "fromcharcode charcodeat unescape decodeuricomponent"},
	{[]language{inVisualBasic, inJavaScript}, runs, "wscript.shell shell.application eval"},
	{[]language{inVisualBasic, inJavaScript}, downloads, "msxml2.xmlhttp msxml2.serverxmlhttp microsoft.xmlhttp winhttp.winhttprequest winhttprequest xmlhttp serverxmlhttp"},
	{[]language{inVisualBasic, inJavaScript}, writes, "adodb.stream savetofile scripting.filesystemobject createtextfile"},
	{[]language{inVisualBasic, inJavaScript}, stays, "regwrite"},
	{[]language{inMIRC}, noDeed, "$nick $chan $me $mircdir $server $active $dialog $findfile $decode"},
	{[]language{inMIRC}, contacts, "sockopen sockwrite sockread sockclose socklisten $sockname $sockerr ctcpreply"},
	{[]language{inMIRC}, hides, "$decode"},

	{nil, downloads, "urldownloadtofile urldownloadtofilea urldownloadtofilew certutil bitsadmin curl wget"},
	{nil, runs, "cmd cmd.exe powershell powershell.exe pwsh pwsh.exe mshta mshta.exe rundll32 rundll32.exe regsvr32 regsvr32.exe wmic wmic.exe msiexec " +
		"msiexec.exe cscript cscript.exe wscript.exe shellexecute forfiles installutil msbuild.exe odbcconf conhost.exe"},
	{nil, stays, "schtasks schtasks.exe"},
	{nil, disarms, "netsh taskkill wevtutil disablerealtimemonitoring disableantispyware exclusionpath windefend -executionpolicy -ep"},
	{nil, destroys, "vssadmin wbadmin bcdedit diskpart cipher deltree format.com"},
	{nil, hides, "-encodedcommand -enc -windowstyle"},
}

// A known word, and what it means.
type known struct {
	text string
	in   []language
	deed deed
}

// vocabulary is meanings by word. A word may have several.
var vocabulary = func() map[string][]int {
	words := map[string][]int{}
	for i, k := range knownWords {
		words[k.text] = append(words[k.text], i)
	}
	return words
}()

var knownWords = func() []known {
	var list []known
	for _, m := range meanings {
		for _, w := range strings.Fields(m.words) {
			list = append(list, known{w, m.in, m.deed})
		}
	}
	return list
}()
