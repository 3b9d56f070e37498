package v1

// createAlertLink keeps a text behind a short link and answers its path, as the fork's
// api does for its alarm. It is no change of anybody's and not audited; a browser has
// no use for it, and another site's page must not fill the table through one.
func (s *server) createAlertLink(c *Call) (any, error) {
	if c.Caller.Cookie {
		return nil, c.denied()
	}
	var in struct {
		Content string `json:"content" form:"content" xml:"content"`
	}
	if err := c.Bind(&in); err != nil {
		return nil, err
	}
	path, err := s.Portal.CreateAlertLink(c.Ctx(), in.Content)
	if err != nil {
		return nil, err
	}
	return path, nil
}

// alertLink shows the text behind a link to who knows the path, as stock's dashboard
// does: the link stands in a message that is read on a phone.
func (s *server) alertLink(c *Call) (any, error) {
	content, err := s.Portal.AlertLink(c.Ctx(), c.Param("path"))
	if err != nil {
		return nil, err
	}
	return map[string]string{"content": content}, nil
}

// endpointTemplateGroups answers the groups through which an endpoint gets a template,
// for the fork's alarm.
func (s *server) endpointTemplateGroups(c *Call) (any, error) {
	template, err := c.positive("tpl_id", 0)
	if err != nil {
		return nil, err
	}
	if template == 0 {
		return nil, badField("tpl_id", "tpl_id is required")
	}
	if c.Query("endpoint") == "" {
		return nil, badField("endpoint", "endpoint is required")
	}
	groups, err := s.Portal.EndpointTemplateGroups(c.Ctx(), c.Query("endpoint"), int64(template))
	if err != nil {
		return nil, err
	}
	type row struct {
		Name string `json:"grp_name"`
		ID   int64  `json:"grp_id"`
	}
	rows := []row{}
	for _, g := range groups {
		rows = append(rows, row{g.Name, g.ID})
	}
	return rows, nil
}
