package icloudphotos

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"
	"time"

	"howett.net/plist"
)

// sidecar returns the metadata of an asset as an XMP document (ISO 16684-1).
func (a *asset) sidecar(id string, m *master) []byte {
	var b strings.Builder
	b.WriteString("<?xpacket begin=\"\uFEFF\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n" +
		"<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n" +
		" <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n" +
		"  <rdf:Description rdf:about=\"\"\n" +
		"    xmlns:dc=\"http://purl.org/dc/elements/1.1/\"\n" +
		"    xmlns:exif=\"http://ns.adobe.com/exif/1.0/\"\n" +
		"    xmlns:photoshop=\"http://ns.adobe.com/photoshop/1.0/\"\n" +
		"    xmlns:xmp=\"http://ns.adobe.com/xap/1.0/\"\n" +
		"    xmlns:icloud=\"urn:plakar-icloud:photos:1\">\n")
	tag := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "   <%s>%s</%[1]s>\n", name, escaped(text))
		}
	}
	list := func(name, container string, items ...string) {
		fmt.Fprintf(&b, "   <%s><rdf:%s>", name, container)
		for _, item := range items {
			attribute := ""
			if container == "Alt" {
				attribute = " xml:lang=\"x-default\""
			}
			fmt.Fprintf(&b, "<rdf:li%s>%s</rdf:li>", attribute, escaped(item))
		}
		fmt.Fprintf(&b, "</rdf:%s></%s>\n", container, name)
	}
	d := details{}
	if a.Details != nil {
		d = *a.Details
	}
	if d.Title != "" {
		list("dc:title", "Alt", d.Title)
	}
	if d.Text != "" {
		list("dc:description", "Alt", d.Text)
	}
	if len(d.Keywords) > 0 {
		list("dc:subject", "Bag", d.Keywords...)
	}
	taken := a.taken().Format("2006-01-02T15:04:05.000-07:00")
	tag("exif:DateTimeOriginal", taken)
	tag("photoshop:DateCreated", taken)
	tag("xmp:CreateDate", taken)
	if d.Placed {
		tag("exif:GPSLatitude", degrees(d.Lat, "N", "S"))
		tag("exif:GPSLongitude", degrees(d.Lon, "E", "W"))
		if d.High != 0 {
			tag("exif:GPSAltitude", fmt.Sprintf("%d/1000", int64(math.Round(math.Abs(d.High)*1000))))
			tag("exif:GPSAltitudeRef", map[bool]string{true: "1", false: "0"}[d.High < 0])
		}
	}
	if a.Favorite {
		tag("xmp:Rating", "5")
	}
	tag("icloud:Favorite", boolean(a.Favorite))
	tag("icloud:Hidden", boolean(a.Hidden))
	tag("icloud:OriginalName", m.Filename)
	tag("icloud:AssetID", id)
	tag("icloud:BurstID", a.Burst)
	if a.Added > 0 {
		tag("icloud:Added", time.UnixMilli(a.Added).UTC().Format(time.RFC3339))
	}
	b.WriteString("  </rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>\n<?xpacket end=\"w\"?>\n")
	return []byte(b.String())
}

// boolean returns a Boolean value in the notation of XMP.
func boolean(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

// escaped returns text with the special characters of XML escaped. Characters
// that XML cannot contain are replaced.
func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a write to a strings.Builder does not fail
	return b.String()
}

// degrees returns a coordinate in the notation of XMP: degrees, minutes with
// decimals, and the direction.
func degrees(value float64, positive, negative string) string {
	direction := positive
	if value < 0 {
		direction = negative
	}
	minutes := int64(math.Round(math.Abs(value) * 60 * 1e6))
	return fmt.Sprintf("%d,%d.%06d%s", minutes/60e6, minutes%60e6/1e6, minutes%1e6, direction)
}

// keywordsOf returns the keywords of an asset, which the service stores as a
// property list.
func keywordsOf(r *record) []string {
	var keywords []string
	if _, err := plist.Unmarshal(r.bytes("keywordsEnc"), &keywords); err != nil {
		return nil
	}
	return keywords
}

// placeOf returns the coordinates and the altitude of the place where a photo was
// taken, from a property list or from plain fields.
func placeOf(r *record) (lat, lon, alt float64, ok bool) {
	for _, field := range []string{"locationV2Enc", "locationEnc"} {
		var place struct {
			Lat *float64 `plist:"lat"`
			Lon *float64 `plist:"lon"`
			Lng *float64 `plist:"lng"`
			Alt float64  `plist:"alt"`
		}
		data := r.bytes(field)
		if len(data) == 0 {
			continue
		}
		if _, err := plist.Unmarshal(data, &place); err != nil || place.Lat == nil {
			continue
		}
		if place.Lon == nil {
			place.Lon = place.Lng
		}
		if place.Lon != nil && valid(*place.Lat, *place.Lon) {
			return *place.Lat, *place.Lon, place.Alt, true
		}
	}
	ok = r.decode("locationLatitude", &lat) && r.decode("locationLongitude", &lon) && valid(lat, lon)
	return lat, lon, 0, ok
}

// valid reports whether coordinates are in range.
func valid(lat, lon float64) bool { return math.Abs(lat) <= 90 && math.Abs(lon) <= 180 }
