package account

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"plakar-icloud/librclone/backend/icloud/apierr"
	"plakar-icloud/librclone/backend/icloud/session"
	"plakar-icloud/librclone/backend/icloud/signin"
	"plakar-icloud/librclone/redact"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/fs/config/obscure"
)

// The states by which a caller of config/create and config/update identifies the
// questions.
const (
	stateCode    = "code"    // a code was sent, or can be sent in another way
	stateApprove = "approve" // the access to protected data has to be approved on a device
	// stateStop is not a question but a failure. It is followed by a space and
	// the cause. Error is the message, and Result is the number of seconds that
	// Apple asks to wait, or "".
	stateStop = "stop"
)

// Answers to the question for the code, besides the code itself.
const (
	answerResend = "resend"
	answerSMS    = waySMS  // followed by a space and the number of the phone
	answerCall   = wayCall // followed by a space and the number of the phone
)

// Questions is the configuration of the backend icloud, which signs in. It requires
// the options apple_id, session_file, and password or password_command. The session
// and the trust are stored in the session file. An earlier session is replaced only
// when the new sign-in is complete.
//
// Once the password was accepted, the sign-in is stored in a file beside the
// session, so that another process can answer the next question.
func Questions(ctx context.Context, name string, m configmap.Mapper, in fs.ConfigIn) (*fs.ConfigOut, error) {
	file, _ := m.Get("session_file")
	appleID, _ := m.Get("apple_id")
	if file == "" || appleID == "" {
		return nil, fmt.Errorf("icloud: the options apple_id and session_file are needed; plakar-icloud login %s sets both", name)
	}
	out, err := answer(ctx, file, strings.ToLower(appleID), m, in)
	if err == nil {
		return out, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	out = &fs.ConfigOut{State: stateStop + " " + causeOf(err), Error: redact.Text(err.Error())}
	var later interface{ RetryAfter() time.Duration }
	if errors.As(err, &later) && later.RetryAfter() > 0 {
		out.Result = strconv.Itoa(int(later.RetryAfter().Seconds()))
	}
	return out, nil
}

// answer processes the answer to a question and returns the next question, or nil
// after the last one.
func answer(ctx context.Context, file, appleID string, m configmap.Mapper, in fs.ConfigIn) (*fs.ConfigOut, error) {
	switch in.State {
	case "":
		clientID, _ := m.Get("client_id")
		s := &signIn{appleID: appleID, clientID: clientID, file: file}
		password, err := passwordIn(ctx, m)
		if err != nil {
			return nil, err
		}
		return s.begin(ctx, password, in.Result)
	case stateCode:
		return code(ctx, file, in.Result)
	case stateApprove:
		return approve(ctx, file)
	}
	return nil, fmt.Errorf("icloud: there is no question %q", in.State)
}

// passwordIn returns the password in the options, or that of the command in them.
func passwordIn(ctx context.Context, m configmap.Mapper) (session.Secret, error) {
	obscured, _ := m.Get("password")
	command, _ := m.Get("password_command")
	clear, err := obscure.Reveal(obscured)
	password := session.Secret(clear)
	switch {
	case command != "":
		if password, err = session.PasswordOf(ctx, command); err != nil {
			return "", err
		}
	case err != nil || password == "":
		return "", &failure{kind: apierr.KindBadConfig, cause: causeOther, text: "a password is needed to sign in"}
	}
	redact.Conceal(string(password))
	if session.IsAppSpecific(password) {
		return "", &failure{kind: apierr.KindNeedsLogin, cause: causeAppSpecific, text: "nothing was sent to Apple"}
	}
	return password, nil
}

// begin proves the password and has a code sent. via is how: "" for Apple's choice,
// or answerSMS or answerCall with the position of a phone in Apple's list, from 1
// on.
func (s *signIn) begin(ctx context.Context, password session.Secret, via string) (*fs.ConfigOut, error) {
	dropChallenge(s.file)
	if file, err := session.LoadFile(s.file); err == nil { // otherwise Apple names the domain again
		s.domain = file.Domain
	}
	wanted, account, err := s.start(ctx, password)
	if err != nil {
		return nil, err
	}
	if wanted == nil && !account.WantsCode() {
		return s.finish(ctx, account)
	}
	if wanted == nil {
		wanted = new(response)
	}
	state, err := s.secondFactor(ctx, wanted)
	if err != nil {
		return nil, err
	}
	c := &challenge{AppleID: s.appleID, Domain: s.domain, Expires: time.Now().Add(challengeLife), Phones: state.phones}
	c.Sent = delivery{Way: wayDevices}
	if state.noDevices && len(state.phones) > 0 {
		c.Sent = delivery{Way: waySMS, PhoneID: state.phones[0].ID}
	}
	if way, number, _ := strings.Cut(via, " "); way != "" {
		place, _ := strconv.Atoi(number) // 0, which is not a position, for anything else
		if place < 1 || place > len(c.Phones) {
			c.Sent.Refused = true
			c.keep(s.client)
			message := fmt.Sprintf("Apple lists %d trusted phones; there is no number %s", len(c.Phones), number)
			return ask(c, message), c.save(s.file)
		}
		c.Sent = delivery{Way: way, PhoneID: c.Phones[place-1].ID}
	}
	return s.deliver(ctx, c)
}

// deliver has the code sent in the way of c.Sent and returns the question for it. A
// refusal by Apple becomes a part of the question, because there are other ways to
// send the code.
func (s *signIn) deliver(ctx context.Context, c *challenge) (*fs.ConfigOut, error) {
	message := ""
	err := s.send(ctx, c.Sent)
	var refusal *failure
	switch {
	case errors.As(err, &refusal) && refusal.cause == causeNoChallenge:
		dropChallenge(s.file)
		return nil, err
	case errors.As(err, &refusal):
		message = refusal.text
	case err != nil:
		return nil, err
	}
	c.Sent.Refused = message != ""
	c.keep(s.client)
	if err := c.save(s.file); err != nil {
		return nil, err
	}
	return ask(c, message), nil
}

// ask returns the question for the code. Its help is how the code was sent, and
// its examples are the other possible answers. message is a message about the last
// answer, or "".
func ask(c *challenge, message string) *fs.ConfigOut {
	option := &fs.Option{Name: "code", Required: true}
	number := c.number(c.Sent.PhoneID)
	switch {
	case c.Sent.Refused && c.Sent.Way == wayDevices:
		option.Help = "Apple did not send a code to your devices"
	case c.Sent.Refused:
		option.Help = "Apple did not send a code to " + number
	case c.Sent.Way == wayDevices:
		option.Help = "Apple has sent a code to your trusted devices"
	case c.Sent.Way == waySMS:
		option.Help = "Apple has sent a code by SMS to " + number
	case c.Sent.Way == wayCall:
		option.Help = "Apple calls " + number + " to tell you a code"
	}
	option.Examples = append(option.Examples, fs.OptionExample{Value: answerResend, Help: "send it again"})
	for _, known := range c.Phones {
		id := strconv.Itoa(known.ID)
		option.Examples = append(option.Examples,
			fs.OptionExample{Value: answerSMS + " " + id, Help: "send it by SMS to " + known.Number},
			fs.OptionExample{Value: answerCall + " " + id, Help: "call " + known.Number})
	}
	return &fs.ConfigOut{State: stateCode, Option: option, Error: message}
}

// code processes the answer to the question for the code. After a wrong code, it
// asks again, without another sign-in.
func code(ctx context.Context, file, answer string) (*fs.ConfigOut, error) {
	c, err := loadChallenge(file)
	if err != nil {
		return nil, err
	}
	s := &signIn{appleID: c.AppleID, clientID: c.ClientID, domain: c.Domain, file: file, client: c.resume()}
	way, rest, _ := strings.Cut(strings.TrimSpace(answer), " ")
	switch way {
	case "":
		return ask(c, ""), nil
	case answerResend:
		return s.deliver(ctx, c)
	case answerSMS, answerCall:
		id, err := strconv.Atoi(strings.TrimSpace(rest))
		if err != nil && len(c.Phones) == 1 {
			id = c.Phones[0].ID
		}
		if c.number(id) == "" {
			return ask(c, fmt.Sprintf("There is no phone %q", rest)), nil
		}
		c.Sent = delivery{Way: way, PhoneID: id}
		return s.deliver(ctx, c)
	}
	digits := strings.NewReplacer(" ", "", "-", "").Replace(answer)
	if len(digits) < 4 || strings.Trim(digits, "0123456789") != "" {
		return ask(c, "A code has six digits"), nil
	}
	account, err := s.verify(ctx, c.Sent, digits)
	var refusal *failure
	if errors.As(err, &refusal) && refusal.cause == causeWrongCode {
		c.keep(s.client)
		if err := c.save(file); err != nil {
			return nil, err
		}
		again := ask(c, "This is not the code, or a newer one was sent since")
		again.Option.Help = "The newest code that Apple has sent counts; no new sign-in is needed"
		return again, nil
	}
	switch causeOf(err) {
	case causeTooManyCodes, causeNoChallenge:
		dropChallenge(file)
	case causeOtherDomain:
		dropChallenge(file)
		if failed := s.storeDomain(ctx); failed != nil {
			return nil, failed
		}
	}
	if err != nil {
		return nil, err
	}
	dropChallenge(file) // a code is valid only once
	return s.finish(ctx, account)
}

// finish stores the new session. If the session is useless, it keeps the earlier
// one and fails. A session whose owner has to accept Apple's terms is stored before
// it fails, because it works once they are accepted.
func (s *signIn) finish(ctx context.Context, account *signin.Account) (*fs.ConfigOut, error) {
	useless := unusable(account, s.domain)
	if useless != nil && causeOf(useless) != causeTerms {
		return nil, useless
	}
	if err := s.store(ctx, account); err != nil {
		return nil, err
	}
	if useless != nil {
		return nil, useless
	}
	if account.WantsPCS(s.cookies) {
		askDevices(ctx, s.file)
		return approve(ctx, s.file)
	}
	return nil, nil
}

// approve requests the cookies that give access to protected data. If the owner has
// not approved the access yet, it returns the question for that. Answering the
// question requests the cookies again.
func approve(ctx context.Context, file string) (*fs.ConfigOut, error) {
	approved, err := requestPCS(ctx, file)
	if err != nil {
		return nil, err
	}
	if approved {
		return nil, nil
	}
	return &fs.ConfigOut{State: stateApprove, Option: &fs.Option{
		Name: "approve",
		Help: "Advanced Data Protection is on: approve the access on one of your devices",
	}}, nil
}
