package drive

import (
	"bytes"
	"encoding/json"
	"errors"
)

// ListingResponse is the response to a listing request: an array of folders with
// their items. A folder may have a hundred thousand items of 600 bytes each, so
// each item is converted into an Item as it arrives.
type ListingResponse struct {
	Folders []FolderResponse
}

// FolderResponse is one folder of a listing.
type FolderResponse struct {
	driveItem
	Items   []*Item // nil if the response has no list of items
	invalid []*InvalidItem
}

// DecodeFrom implements transport.StreamDecoder.
func (a *ListingResponse) DecodeFrom(in *json.Decoder) error {
	a.Folders = nil
	return eachIn(in, '[', func() {}, func() error {
		var folder FolderResponse
		if err := folder.readFrom(in); err != nil {
			return err
		}
		a.Folders = append(a.Folders, folder)
		return nil
	})
}

func (f *FolderResponse) readFrom(in *json.Decoder) error {
	var members bytes.Buffer // the object without the items
	separator := byte('{')
	err := eachIn(in, '{', func() {}, func() error {
		name, err := in.Token()
		if err != nil {
			return err
		}
		if name == "items" {
			return f.readItems(in)
		}
		var member json.RawMessage
		if err := in.Decode(&member); err != nil {
			return err
		}
		key, err := json.Marshal(name)
		members.WriteByte(separator)
		separator = ','
		members.Write(key)
		members.WriteByte(':')
		members.Write(member)
		return err
	})
	if err != nil || members.Len() == 0 {
		return err
	}
	members.WriteByte('}')
	return json.Unmarshal(members.Bytes(), &f.driveItem)
}

func (f *FolderResponse) readItems(in *json.Decoder) error {
	return eachIn(in, '[', func() { f.Items = []*Item{} }, func() error {
		var received driveItem
		err := in.Decode(&received)
		var wrongType *json.UnmarshalTypeError
		if err != nil && !errors.As(err, &wrongType) {
			return err // the decoder cannot continue
		}
		if it, invalid := listedItem(&received, err); invalid != nil {
			f.invalid = append(f.invalid, invalid)
		} else {
			f.Items = append(f.Items, it)
		}
		return nil
	})
}

// eachIn reads an array or an object, whose opening delimiter is open. It calls
// begun once, and then read for each member. For null, it calls neither.
func eachIn(in *json.Decoder, open json.Delim, begun func(), read func() error) error {
	token, err := in.Token()
	if err != nil || token == nil {
		return err
	}
	if token != open {
		return &json.UnmarshalTypeError{Value: "another value", Offset: in.InputOffset()}
	}
	begun()
	for in.More() {
		if err := read(); err != nil {
			return err
		}
	}
	_, err = in.Token()
	return err
}
