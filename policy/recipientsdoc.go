package policy

import (
	"fmt"
	"io"
)

func writeRecipients(b io.Writer) { fmt.Fprintf(b, recipientsDoc, maxAsked, maxGroups) }

const recipientsDoc = `
## Recipients (` + "`for: recipient`" + `)

Rules may differ by recipient:

` + "```yaml" + `
rules:
  - name: malware
    when: has("clamd/malware")
    then: quarantine
  - name: no programs for the front desk
    for: recipient
    when: recipient_domain == "desk.example.org" and any(parts, .is("executable"))
    then: quarantine
    class: program
    retention: 30d
  - name: left the company
    for: recipient
    when: recipient in ["eve@example.com"]
    do: [{redirect: adam@example.com}]
` + "```" + `

Such a rule is asked for every recipient of the envelope. Its changes and its final action are for the recipients for
which it holds, and the rules after it go on for these and for the others apart, as if there were a message to each of
them. If all recipients come to the same, nothing else happens. Otherwise

- a message that is refused for now for one of them is refused for now for all;
- one that is refused for good for some of them is quarantined for these: a reply would be a lie to the others, and a
  message to the sender would go to whoever is named there;
- recipients whose copy is quarantined or discarded get nothing, while the others get theirs;
- if it is delivered changed in several ways, the first one goes on, and of each of the others a copy is sent to its
  recipients;
- what the MTA is to keep (` + "`mta_hold`" + `) is the one that goes on, because a copy would be delivered; if there are
  several such, the others are quarantined.

Addresses that differ only in case, or in quotes, are one recipient, and conditions see it in lower case. Beyond %d
evaluations of conditions for recipients, or %d groups of recipients that rules tell apart, the message is quarantined
for all of them. The trace of each group tells its own steps.

Postfix must know recipients as they came to remove one that is an alias: ` + "`enable_original_recipient`" + ` is ` + "`yes`" + ` by
default. With ` + "`no`" + `, others behind the same alias lose the message too. Aliases count in Sendmail by what they stand for.
`
